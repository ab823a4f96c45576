"""How the runs of a study stand, read from their folders: nothing else keeps count."""

import shlex
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cure_core.files import DamagedFileError
from cure_study.runner import run_folder, runs
from cure_study.runner.run_folder import FAILURE, RECORD
from cure_study.runner.runs import Run

STATES = ("done", "running", "interrupted", "pending", "failed", "damaged")
ENDED = ("done", "failed")  # until a retry is requested


@dataclass(frozen=True)
class State:
    """How a run stands: `what` is one of `STATES`; `seconds` of it so far."""

    what: str
    seconds: float = 0.0
    error: str = ""
    cell: int | None = None


def state(run: Run, where: Path) -> State:
    """How a run stands in a folder of runs; changes nothing."""
    begun = run_folder.partials(where, run.name)
    if begun:
        try:
            with run_folder.held(run.name, where):
                pass
        except run_folder.BusyError:
            since = min((path.stat().st_ctime for path in begun if path.exists()), default=0.0)
            return State("running", time.time() - since if since else 0.0)
    try:
        path = where / run.name / RECORD
        if (record := _read(path)) is not None:
            run_folder.check_results(path.parent, record)
            return _state("done", path, record)
        path = where / f"{run.name}-failed" / FAILURE
        if (record := _read(path)) is not None:
            return _state("failed", path, record)
    except DamagedFileError as error:
        return State("damaged", error=str(error))
    return State("interrupted" if begun else "pending")


def done_runs(
    plan: Iterable[Run], where: Path
) -> tuple[list[tuple[Path, dict[str, Any]]], list[DamagedFileError]]:
    """Folder and record of every done run of what is planned, and what is damaged of the others.

    By whatever code and data they were run, in the order of the plan. A record that cannot be read
    counts as damaged, whatever it was a record of.
    """
    place = {run.recipe: number for number, run in enumerate(plan)}
    done, damaged = [], []
    for path in sorted(where.glob(f"*/{RECORD}")):
        try:
            record = run_folder.read_record(path)
            if record.get("recipe") in place:  # a sweep's record has none
                run_folder.check_results(path.parent, record)
                done.append((path.parent, record))
        except DamagedFileError as error:
            damaged.append(error)
    return sorted(done, key=lambda own: place[own[1]["recipe"]]), damaged


def remaining(states: Mapping[Run, State], at_once: int) -> float | None:
    """Seconds until the rest is done, by the mean of each notebook's done runs; None if unknown."""
    taken: dict[str, list[float]] = {}
    for run, own in states.items():
        if own.what == "done":
            taken.setdefault(run.notebook, []).append(own.seconds)
    seconds = 0.0
    for run, own in states.items():
        if own.what in ENDED:
            continue
        if run.notebook not in taken:
            return None
        mean = sum(taken[run.notebook]) / len(taken[run.notebook])
        seconds += max(mean - own.seconds, 0.0)
    return seconds / max(at_once, 1)


def told_left(seconds: float | None) -> str:
    """An estimate of what is left, in words."""
    if seconds is None:
        return "time left unknown until a run is done"
    if seconds < 90:
        return f"about {seconds:.0f} s left"
    return (
        f"about {seconds / 60:.0f} min left"
        if seconds < 5400
        else f"about {seconds / 3600:.1f} h left"
    )


def again(study: Path, run: Run, where: Path) -> str:
    """The command that executes one run of a study again."""
    command = ["cure", "batch", "run", str(study), "--only", run.version[:8]]
    if where != runs.RUNS:
        command += ["--runs", str(where)]
    return shlex.join(command)


def _state(what: str, path: Path, record: dict[str, Any]) -> State:
    """The state that a record describes. Raises DamagedFileError where it describes none."""
    match {"error": "", "cell": None} | record:
        case {
            "seconds": int() | float() as seconds,
            "error": str() as error,
            "cell": int() | None as cell,
        }:
            return State(what, seconds, error, cell)
    raise DamagedFileError(path, "it is not a run's record")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return run_folder.read_record(path)
    except FileNotFoundError:
        return None
