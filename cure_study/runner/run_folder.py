"""Executing a run into a folder that is either complete or absent.

Next to a run's folder `runs/NAME` there may be `NAME-failed`, the notebook up to the cell that
failed; `.NAME~*`, a run in progress; and `.NAME~`, a folder while a new one replaces it. A process
that executes a run holds its lock, which the system frees when that process ends, however it ends:
a hidden folder of an unlocked run was left by an interruption.
"""

import csv
import glob
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cure_core.files import atomic_path
from cure_study.run_record import LOG, is_done, write_record
from cure_study.runner import kernel
from cure_study.runner.runs import SET_BY_RUN, Run, declared, source_versions

FAILURE, RESULTS = "failure.json", "results.csv"


class BusyError(ValueError):
    """Another process is executing the run."""


class StaleError(ValueError):
    """The code is no longer what it was when the run was planned."""


class Output:
    """Standard output, in lines above a progress bar if there is one."""

    def write(self, text: str) -> None:
        from tqdm import tqdm

        tqdm.write(text, end="")

    def flush(self) -> None:
        sys.stdout.flush()


def execute(
    run: Run, runs: Path, *, again: bool = True, live: bool = False, log: bool = False
) -> Path:
    """Execute a run into its folder, which appears when the run is complete; returns the folder.

    It then replaces an earlier folder of the name; without `again`, an earlier undamaged one is
    left as it is. `live` prints what the cells print, with a bar of the cells on a terminal. With
    `log`, all that this process and its kernel print goes to the folder's `run.log`. Raises
    BusyError if another process executes the run, StaleError if the code is not what was planned;
    papermill's error if a cell fails, and ValueError if the results are of other data than planned,
    after the notebook was kept in the folder ending in `-failed`.
    """
    runs = runs.resolve()
    with claimed(run.name, runs):
        clean_up(runs, run.name)
        if not again and is_done(runs / run.name):
            return runs / run.name
        _check_code(run)
        partial = _new_partial(runs, run.name)
        began = time.perf_counter()
        try:
            _execute_in(partial, run, live, log)
            _check_code(run)
            _check_data(run, partial)
        except StaleError:
            clean_up(runs, run.name)
            raise
        except Exception as error:
            keep_failure(run, runs, error_line(error), time.perf_counter() - began)
            raise
        except BaseException:
            replace(partial, runs / f"{run.name}-failed")
            raise
        seconds = round(time.perf_counter() - began, 1)
        write_record(partial, run.record() | {"seconds": seconds})
        folder = replace(partial, runs / run.name)
        shutil.rmtree(runs / f"{run.name}-failed", ignore_errors=True)
        return folder


def _execute_in(partial: Path, run: Run, live: bool, log: bool) -> None:
    if log:
        with open(partial / LOG, "wb") as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
    known = declared(Path(run.source))
    values = zip(SET_BY_RUN, (str(partial), False), strict=True)
    kernel.execute(
        run.source,
        partial / Path(run.source).name,
        dict(run.given) | {name: value for name, value in values if name in known},
        progress_bar=live and sys.stderr.isatty(),
        stdout_file=Output() if live else None,
        log_output=log,
        cwd=partial,
    )


def error_line(error: Exception) -> str:
    """An error in a line: of a failed cell, the cell's error."""
    name, value = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", error)
    return f"{name}: {value}".strip().removesuffix(":")


def keep_failure(run: Run, runs: Path, error: str, seconds: float) -> None:
    """Move what a failed run left, with its record, to `NAME-failed`, replacing an earlier one."""
    partial = next(iter(partials(runs, run.name)), None) or _new_partial(runs, run.name)
    record = run.record() | {
        "error": error,
        "cell": _last_cell(partial / Path(run.source).name),
        "seconds": round(seconds, 1),
        "host": socket.gethostname(),
    }
    with atomic_path(partial / FAILURE) as temporary:
        temporary.write_text(json.dumps(record, indent=2), encoding="utf-8")
    replace(partial, runs / f"{run.name}-failed")
    clean_up(runs, run.name)


@contextmanager
def claimed(name: str, runs: Path) -> Iterator[None]:
    """Hold the lock of a run. Raises BusyError if another process holds it."""
    from filelock import FileLock, Timeout

    locks = runs / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(locks / name, timeout=0).acquire()
    except Timeout:
        raise BusyError(f"{name} is being run by another process; wait for it") from None
    with lock:
        yield


def partials(runs: Path, name: str) -> list[Path]:
    """The hidden folders of a run: in progress, or left by an interruption."""
    return list(runs.glob(f".{glob.escape(name)}~?*"))


def _new_partial(runs: Path, name: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{name}~", dir=runs))


def clean_up(runs: Path, name: str) -> None:
    """Remove what interruptions of a run left; its lock must be held.

    A folder that was being replaced is put back, unless the new one is in its place.
    """
    for path in partials(runs, name):
        shutil.rmtree(path, ignore_errors=True)
    for final in (runs / name, runs / f"{name}-failed"):
        put_back(final)


def clean_up_all(runs: Path) -> None:
    """Remove, or put back, what interruptions left of any run that is not in progress."""
    for path in runs.glob(".*~*"):
        name = path.name[1:].rpartition("~")[0].removesuffix("-failed")
        with suppress(BusyError), claimed(name, runs):
            clean_up(runs, name)


def replace(new: Path, final: Path) -> Path:
    """Move folder `new` to `final`; a folder that is there is kept aside until then.

    Killed at any moment, it leaves one of the two complete: at `final`, or where `put_back` finds
    it.
    """
    put_back(final)
    umask = os.umask(0)
    os.umask(umask)
    new.chmod(0o777 & ~umask)  # mkdtemp makes it readable by its owner alone
    if final.exists():
        final.rename(_aside(final))
    new.rename(final)
    put_back(final)
    return final


def put_back(final: Path) -> None:
    """End a replacement: remove the folder set aside, or move it back if no new one came."""
    aside = _aside(final)
    if aside.exists() and final.exists():
        shutil.rmtree(aside, ignore_errors=True)  # files in use go with the next replacement
    elif aside.exists():
        aside.rename(final)


def _aside(final: Path) -> Path:
    return final.with_name(f".{final.name}~")


def _check_code(run: Run) -> None:
    for part, version in source_versions(Path(run.source)).items():
        if version != run.versions[part]:
            raise StaleError(
                f"the {part} is no longer what {run.name} was planned for ({version}, not "
                f"{run.versions[part]}); start again to plan for it as it is now"
            )


def _check_data(run: Run, folder: Path) -> None:
    """Raise ValueError if the results say that they are of other data than planned."""
    if not (run.versions["data"] and (folder / RESULTS).is_file()):
        return
    with open(folder / RESULTS, newline="", encoding="utf-8") as file:
        found = {row["data"] for row in csv.DictReader(file) if row.get("data")}
    if found - {run.versions["data"]}:
        raise ValueError(
            f"the results are of the data {', '.join(sorted(found))}, but {run.name} was planned "
            f"for {run.versions['data']}; give every machine the same data"
        )


def _last_cell(notebook: Path) -> int | None:
    """The number, as Jupyter shows it, of the cell that an executed notebook failed in."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError):
        return None
    number = 0
    for cell in cells:
        status = cell["metadata"].get("papermill", {}).get("status")
        if cell["cell_type"] == "code" and status in ("failed", "running"):
            return cell["execution_count"] or number + 1
        number = cell.get("execution_count") or number
    return None
