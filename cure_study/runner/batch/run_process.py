"""One run of a batch in a separate process, which a Dask worker starts and watches.

The process reads what to do as one line of JSON on its standard input, which then stays open for
as long as the worker needs the run: when it closes, for whatever reason, the run and its kernel
end.
"""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cure_study.runner import run_folder
from cure_study.runner.runs import Run

STATUS = {"done": 0, "failed": 70, "busy": 72, "stale": 73}  # exit statuses of the process
CANCELLED = 71
MEMORY_SECONDS = 4.0  # between measurements of a run's memory, each of some 15 ms
STOP_SECONDS = 10.0  # that a run has to end by itself
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def execute_in_process(
    run: Run, runs_folder: str, *, cores: int, memory: int, timeout: float | None, again: bool
) -> tuple[str, str]:
    """Execute a run in its own process with `cores` threads, within `memory` bytes and `timeout` s.

    Returns how it ended (done, failed, busy, stale or cancelled), and of a stale one the reason.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # so that the driver alone answers Ctrl-C
        env=os.environ | dict.fromkeys(THREADS, str(cores)) | {"PYTHONIOENCODING": "utf-8"},
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):  # if it died at once, its status and output follow below
        process.stdin.write(
            json.dumps({"run": asdict(run), "runs": runs_folder, "again": again}) + "\n"
        )
        process.stdin.flush()
    error = _watch(process, memory, timeout)
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        _kill(process.pid)
    output = process.stdout.read().strip()
    status = process.wait()
    if error == "cancelled":
        return "cancelled", ""
    for end, known in STATUS.items():
        if status == known:
            return end, output if end == "stale" else ""
    if not error:
        cause = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        error = f"the run's process {cause}; {output[-2000:]}".removesuffix("; ")
    try:
        with run_folder.claimed(run.name, Path(runs_folder)):
            run_folder.keep_failure(run, Path(runs_folder), error, time.perf_counter() - began)
    except run_folder.BusyError:  # another batch took the run over
        return "busy", ""
    return "failed", ""


def _watch(process: "subprocess.Popen[str]", memory: int, timeout: float | None) -> str:
    """Wait for the end of a process; returns why it must be ended, or nothing if it ended."""
    began = measured = time.monotonic()
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
            return ""
        if _cancelled():
            return "cancelled"
        if timeout is not None and time.monotonic() - began > timeout:
            _kill(process.pid)
            return f"it took longer than {timeout:.0f} s; raise `timeout` in the study"
        if time.monotonic() - measured > MEMORY_SECONDS:
            measured = time.monotonic()
            if (used := _memory(process.pid)) > memory:
                _kill(process.pid)
                return (
                    f"it took {used / 1e9:.2f} GB of memory, more than its {memory / 1e9:.2f} GB; "
                    "raise `memory` in the study"
                )


def _cancelled() -> bool:
    """Whether the running Dask task was cancelled, or its client or worker is gone."""
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:
        return False  # no Dask worker
    task = worker.state.tasks.get(worker.get_current_task())
    return task is None or task.state == "cancelled" or worker.status.name.startswith("clos")


def _memory(pid: int) -> int:
    """Bytes of private memory of a process and its children; mapped files are not counted."""
    import psutil

    total = 0
    for process in _with_children(pid):
        with suppress(psutil.Error):
            used = process.memory_info()
            total += used.rss - getattr(used, "shared", 0)
    return total


def _kill(pid: int) -> None:
    import psutil

    for process in _with_children(pid):
        with suppress(psutil.Error):
            process.kill()


def _with_children(pid: int) -> list[Any]:
    import psutil

    with suppress(psutil.Error):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def main() -> int:
    """Execute the run that standard input names; the status tells how it ended."""
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # papermill's imports compile a grammar of web addresses that no notebook needs: 1.4 s each run
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        run_folder.execute(Run(**task["run"]), Path(task["runs"]), again=task["again"], log=True)
    except run_folder.BusyError:
        return STATUS["busy"]
    except run_folder.StaleError as error:
        print(error)
        return STATUS["stale"]
    except Exception as error:
        logging.error("%s", run_folder.error_line(error))
        return STATUS["failed"]
    return STATUS["done"]


def _end_with_parent() -> None:
    import psutil

    while os.read(0, 1):
        pass
    for process in psutil.Process().children(recursive=True):
        process.kill()
    os._exit(CANCELLED)


if __name__ == "__main__":
    sys.exit(main())
