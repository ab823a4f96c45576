"""Executing a run into a folder that is whole or not there.

Beside a run's folder `runs/NAME` may lie `NAME-failed`, the notebook as far as it came, and
`.NAME-PID-*`, a run under way. Whoever executes a run holds its lock, which the system frees when
that process ends, however it ends: a hidden folder that nobody holds is what an interruption left.
"""

import json
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from cure_core.runs import OWN, Run, code_version, declared, notebook_version

PARTIAL = re.compile(r"\.(?P<name>.+)-\d+-[a-z0-9_]+")
RECORD, FAILURE, RESULTS, LOG = "run.json", "failure.json", "results.csv", "run.log"


class BusyError(ValueError):
    """The run is under way elsewhere."""


class StaleError(ValueError):
    """The code is no longer what it was when the run was planned."""


def execute(
    run: Run, runs: Path, *, again: bool = True, bar: bool = False, log: bool = False
) -> Path:
    """Execute a run into its folder, which appears when the run is whole; returns the folder.

    An earlier folder of the name gives way then, or, without `again`, is left as it is. With
    `log`, all that this process and its kernel print goes to the folder's `run.log`. Raises
    BusyError where another process is at it, StaleError where the code is not what was planned;
    papermill's error where a cell fails, and ValueError where the results are of other data than
    planned, after the notebook as far as it came was kept in the folder ending in `-failed`.
    """
    runs = runs.resolve()
    with held(run.name, runs):
        sweep(runs, run.name)
        if not again and (runs / run.name / RECORD).is_file():
            return runs / run.name
        _check_code(run)
        partial = _new_partial(runs, run.name)
        began = time.perf_counter()
        try:
            _execute_in(partial, run, bar, log)
            _check_code(run)
            _check_data(run, partial)
        except StaleError:
            sweep(runs, run.name)
            raise
        except Exception as error:
            keep_failure(run, runs, said(error), time.perf_counter() - began)
            raise
        except BaseException:
            replace(partial, runs / f"{run.name}-failed")
            raise
        seconds = round(time.perf_counter() - began, 1)
        (partial / RECORD).write_text(json.dumps(run.record() | {"seconds": seconds}, indent=2))
        folder = replace(partial, runs / run.name)
        shutil.rmtree(runs / f"{run.name}-failed", ignore_errors=True)
        return folder


def _execute_in(partial: Path, run: Run, bar: bool, log: bool) -> None:
    if log:
        with open(partial / LOG, "w") as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
    import papermill

    known = declared(Path(run.source))
    own = {n: v for n, v in zip(OWN, (str(partial), False), strict=True) if n in known}
    papermill.execute_notebook(
        run.source,
        partial / Path(run.source).name,
        dict(run.given) | own,
        progress_bar=bar,
        log_output=log,
        cwd=partial,
    )


def said(error: Exception) -> str:
    """An error in a line: a failing cell's own, or this one."""
    name, value = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", error)
    return f"{name}: {value}".strip().removesuffix(":")


def keep_failure(run: Run, runs: Path, error: str, seconds: float) -> None:
    """Put what a failed run left, with its record, at `NAME-failed`, in the place of an earlier."""
    failed = runs / f"{run.name}-failed"
    partial = next(iter(partials(runs, run.name)), None) or _new_partial(runs, run.name)
    told = run.record() | {
        "error": error,
        "cell": _reached(partial / Path(run.source).name),
        "seconds": round(seconds, 1),
        "host": socket.gethostname(),
    }
    (partial / FAILURE).write_text(json.dumps(told, indent=2))
    replace(partial, failed)
    sweep(runs, run.name)


@contextmanager
def held(name: str, runs: Path) -> Iterator[None]:
    """Hold the lock of a run. Raises BusyError where another process does."""
    from filelock import FileLock, Timeout

    locks = runs / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(locks / name, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BusyError(f"{name} is being run by another process; wait for it") from None
    try:
        yield
    finally:
        lock.release()


def partials(runs: Path, name: str) -> list[Path]:
    """The hidden folders of a run: one under way, or left by an interruption."""
    return [path for path in runs.glob(f".{escape(name)}-*") if path.is_dir()]


def sweep(runs: Path, name: str) -> None:
    """Remove what interruptions of a run left; its lock must be held."""
    for path in partials(runs, name):
        shutil.rmtree(path, ignore_errors=True)


def sweep_all(runs: Path) -> None:
    """Remove what interruptions left of any run that nobody is at."""
    for path in runs.glob(".*-*"):
        if found := PARTIAL.fullmatch(path.name):
            with suppress(BusyError), held(found["name"], runs):
                sweep(runs, found["name"])


def _new_partial(runs: Path, name: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{name}-{os.getpid()}-", dir=runs))


def replace(new: Path, final: Path) -> Path:
    """Put folder `new` in the place of `final`."""
    if final.exists():
        shutil.rmtree(final)
    new.chmod(0o755)  # mkdtemp's is its owner's alone
    return new.rename(final)


def _check_code(run: Run) -> None:
    now = {"notebook": notebook_version(Path(run.source)), "code": code_version()}
    for part, version in now.items():
        if version != run.versions[part]:
            raise StaleError(
                f"the {part} is no longer what {run.name} was planned for ({version}, not "
                f"{run.versions[part]}); start again to plan for it as it is now"
            )


def _check_data(run: Run, folder: Path) -> None:
    """Raise ValueError where the results say they are of other data than planned."""
    import csv

    if not (run.versions["data"] and (folder / RESULTS).is_file()):
        return
    with open(folder / RESULTS, newline="") as file:
        found = {row["data"] for row in csv.DictReader(file) if row.get("data")}
    if found - {run.versions["data"]}:
        raise ValueError(
            f"the results are of the data {', '.join(sorted(found))}, but {run.name} was planned "
            f"for {run.versions['data']}; give every machine the same data"
        )


def _reached(notebook: Path) -> int | None:
    """The number, as Jupyter shows it, of the cell that an executed notebook ended in."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError):
        return None
    number = 0
    for cell in cells:
        told = cell["metadata"].get("papermill", {})
        if told.get("exception") or (
            cell["cell_type"] == "code" and told.get("status") == "running"
        ):
            return cell.get("execution_count") or number + 1
        number = cell.get("execution_count") or number
    return None
