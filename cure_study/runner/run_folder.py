"""Executing a run into a folder that is whole or not there.

Beside a run's folder `runs/NAME` may lie `NAME-failed`, the notebook as far as it came;
`.NAME-PID-*`, a run in progress; and `.NAME~`, the folder that a new one is about to replace. A
process that executes a run holds its lock, which the system frees when that process ends, however
it ends: a hidden folder of an unlocked run is what an interruption left.
"""

import csv
import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cure_core.files import DamagedFileError, atomic_path, file_sha256
from cure_study.runner import kernel
from cure_study.runner.runs import OWN, Run, code_version, declared, notebook_version

PARTIAL = re.compile(r"\.(?P<name>.+)-(?P<pid>\d+)-[a-z0-9_]+")
ASIDE = re.compile(r"\.(?P<name>.+)~")
RECORD, FAILURE, RESULTS, LOG = "run.json", "failure.json", "results.csv", "run.log"


class BusyError(ValueError):
    """The run is under way elsewhere."""


class StaleError(ValueError):
    """The code is no longer what it was when the run was planned."""


def execute(
    run: Run, runs: Path, *, again: bool = True, bar: bool = False, log: bool = False
) -> Path:
    """Execute a run into its folder, which appears when the run is whole; returns the folder.

    It then replaces an earlier folder of the name; without `again`, an earlier undamaged one is
    left as it is. With `log`, all that this process and its kernel print goes to the folder's
    `run.log`. Raises BusyError where another process executes the run, StaleError where the code is
    not what was planned; papermill's error where a cell fails, and ValueError where the results are
    of other data than planned, after the notebook as far as it came was kept in the folder ending
    in `-failed`.
    """
    runs = runs.resolve()
    with held(run.name, runs):
        sweep(runs, run.name)
        if not again and is_done(runs / run.name):
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
        write_record(partial, run.record() | {"seconds": seconds})
        folder = replace(partial, runs / run.name)
        shutil.rmtree(runs / f"{run.name}-failed", ignore_errors=True)
        return folder


def _execute_in(partial: Path, run: Run, bar: bool, log: bool) -> None:
    if log:
        with open(partial / LOG, "wb") as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
    known = declared(Path(run.source))
    own = {n: v for n, v in zip(OWN, (str(partial), False), strict=True) if n in known}
    kernel.execute(
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
    """Put what a failed run left, with its record, at `NAME-failed`, replacing an earlier one."""
    failed = runs / f"{run.name}-failed"
    partial = next(iter(partials(runs, run.name)), None) or _new_partial(runs, run.name)
    record = run.record() | {
        "error": error,
        "cell": _reached(partial / Path(run.source).name),
        "seconds": round(seconds, 1),
        "host": socket.gethostname(),
    }
    with atomic_path(partial / FAILURE) as temporary:
        temporary.write_text(json.dumps(record, indent=2), encoding="utf-8")
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


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write `run.json`: the record, the SHA-256 of every result, and a digest of all that.

    Results are all files but the executed notebook and the log, which may be edited.
    """
    files = {
        path.relative_to(folder).as_posix(): file_sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".ipynb" and path.name not in (LOG, RECORD)
    }
    record = record | {"files": files}
    with atomic_path(folder / RECORD) as temporary:
        text = json.dumps(record | {"digest": _record_digest(record)}, indent=2)
        temporary.write_text(text, encoding="utf-8")


def read_record(path: Path) -> dict[str, Any]:
    """A `run.json` or `failure.json`, as it was written; one without `files` needs no digest.

    Raises FileNotFoundError, and DamagedFileError naming a file that is not what was written.
    """
    try:
        record = json.loads(path.read_bytes())
        digest = record.pop("digest", "")
        dict(record.get("parameters", {}))
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise DamagedFileError(path, "it is not a run's record") from error
    if (digest or "files" in record) and digest != _record_digest(record):
        raise DamagedFileError(path, "its content does not match its digest")
    return record


def check_results(folder: Path, record: dict[str, Any]) -> None:
    """Raise DamagedFileError naming a result of a run that is missing or not what was written."""
    for name, sha256 in record.get("files", {}).items():
        path = folder / name
        if not path.is_file():
            raise DamagedFileError(path, "it is missing")
        if file_sha256(path) != sha256:
            raise DamagedFileError(path, "its content does not match its SHA-256")


def is_done(folder: Path) -> bool:
    """Whether a folder holds a finished run, undamaged."""
    try:
        record = read_record(folder / RECORD)
        check_results(folder, record)
    except (FileNotFoundError, NotADirectoryError, DamagedFileError):
        return False
    return "seconds" in record


def _record_digest(record: dict[str, Any]) -> str:
    as_read = json.loads(json.dumps(record))  # where keys are text, and sorted as text
    return hashlib.sha256(json.dumps(as_read, sort_keys=True).encode()).hexdigest()


def partials(runs: Path, name: str, pid: int | None = None) -> list[Path]:
    """The hidden folders of a run, or those of one process: in progress, or left by a kill."""
    found = [(path, PARTIAL.fullmatch(path.name)) for path in runs.glob(".*") if path.is_dir()]
    return [
        path
        for path, match in found
        if match and match["name"] == name and pid in (None, int(match["pid"]))
    ]


def remove_partials(runs: Path, name: str, pid: int | None = None) -> None:
    """Remove the hidden folders of a run, or those that one process made."""
    for path in partials(runs, name, pid):
        shutil.rmtree(path, ignore_errors=True)


def sweep(runs: Path, name: str) -> None:
    """Remove what interruptions of a run left; its lock must be held.

    A folder that was being replaced is put back, unless the new one is in its place.
    """
    remove_partials(runs, name)
    for final in (runs / name, runs / f"{name}-failed"):
        put_back(final)


def sweep_all(runs: Path) -> None:
    """Remove, or put back, what interruptions left of any run that is not in progress."""
    for path in runs.glob(".*"):
        if found := PARTIAL.fullmatch(path.name) or ASIDE.fullmatch(path.name):
            name = found["name"].removesuffix("-failed")
            with suppress(BusyError), held(name, runs):
                sweep(runs, name)


def _new_partial(runs: Path, name: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{name}-{os.getpid()}-", dir=runs))


def replace(new: Path, final: Path) -> Path:
    """Put folder `new` in the place of `final`, which is kept aside until then.

    Killed at any moment, it leaves one of the two whole: at `final`, or where `put_back` finds it.
    """
    put_back(final)
    umask = os.umask(0)
    os.umask(umask)
    new.chmod(0o777 & ~umask)  # mkdtemp's is its owner's alone
    if final.exists():
        final.rename(_aside(final))
    new.rename(final)
    put_back(final)
    return final


def put_back(final: Path) -> None:
    """End a replacement: the folder set aside is removed, or returns where no new one came."""
    aside = _aside(final)
    if not aside.exists():
        return
    if final.exists():
        shutil.rmtree(aside, ignore_errors=True)  # what is in use goes with the next replacement
    else:
        aside.rename(final)


def _aside(final: Path) -> Path:
    return final.with_name(f".{final.name}~")


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
    if not (run.versions["data"] and (folder / RESULTS).is_file()):
        return
    with open(folder / RESULTS, newline="", encoding="utf-8") as file:
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
