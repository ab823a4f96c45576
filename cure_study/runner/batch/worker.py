"""What a Dask worker does for one run: start its process, watch it, and say how it ended."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cure_study.runner import run_folder
from cure_study.runner.batch import run_process
from cure_study.runner.batch.run_process import BUSY, DONE, FAILED, STALE, order
from cure_study.runner.runs import Run

WATCH_SECONDS = 4.0  # between looks at a run's memory; a look costs some 15 ms
STOP_SECONDS = 10.0  # that a run is given to end by itself
ENDS = {DONE: "done", FAILED: "failed", BUSY: "busy"}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def carry_out(
    run: Run, where: str, *, cores: int, memory: int, again: bool, wait: float = 0.0
) -> tuple[str, str]:
    """Execute a run in a process of its own with `cores` threads and at most `memory` bytes.

    Returns how it ended (done, failed, busy, stale or stopped), and why where no folder tells.
    Waits `wait` seconds first, or less where nobody wants the run any more.
    """
    folder = Path(where)
    until = time.monotonic() + wait
    while time.monotonic() < until:
        if _unwanted():
            return "stopped", ""
        time.sleep(0.2)
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", run_process.__name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is the driver's to answer
        env=os.environ | dict.fromkeys(THREADS, str(cores)) | {"PYTHONIOENCODING": "utf-8"},
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(order(run, folder, again)) + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # it died at once; below it is told what it said
    stopped = _watch(process, memory)
    process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        _kill(process.pid)
    said = process.stdout.read().strip()
    code = process.wait()
    if stopped == "unwanted":
        return "stopped", ""
    if code in ENDS:
        return ENDS[code], ""
    if code == STALE:
        return "stale", said
    cause = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
    told = stopped or f"the run's process {cause}; {said[-2000:]}".removesuffix("; ")
    try:
        with run_folder.held(run.name, folder):
            run_folder.keep_failure(run, folder, told, time.perf_counter() - began)
    except run_folder.BusyError:  # another batch took the run over
        return "busy", ""
    return "failed", ""


def _watch(process: "subprocess.Popen[str]", memory: int) -> str:
    """Wait for the end of a process; returns why it was ended, where it had to be."""
    looked = time.monotonic()
    while True:
        try:
            process.wait(0.2)
            return ""
        except subprocess.TimeoutExpired:
            pass
        if _unwanted():
            return "unwanted"
        if time.monotonic() - looked > WATCH_SECONDS:
            looked = time.monotonic()
            if (taken := _memory(process.pid)) > memory:
                _kill(process.pid)
                return (
                    f"it took {taken / 1e9:.2f} GB of memory, more than its {memory / 1e9:.2f} GB; "
                    "raise `memory` in the study"
                )


def _unwanted() -> bool:
    """Whether nobody waits for the running Dask task any more: cancelled, or its client is gone."""
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:
        return False  # no Dask worker
    task = worker.state.tasks.get(worker.get_current_task())
    return task is None or task.state == "cancelled" or worker.status.name.startswith("clos")


def _memory(pid: int) -> int:
    """Bytes that a process and all below it hold for themselves; mapped files are not counted."""
    import psutil

    total = 0
    for process in _tree(pid):
        try:
            taken = process.memory_info()
        except psutil.Error:
            continue
        total += taken.rss - getattr(taken, "shared", 0)
    return total


def _kill(pid: int) -> None:
    import psutil

    for process in _tree(pid):
        try:
            process.kill()
        except psutil.Error:
            continue


def _tree(pid: int) -> list[Any]:
    import psutil

    try:
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    except psutil.Error:
        return []
