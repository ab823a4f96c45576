"""The states of a study's runs, read from their folders: there is no other record of them."""

import shlex
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from cure_core.files import DamagedFileError
from cure_study.run_record import RECORD, check_results, read_record
from cure_study.runner import run_folder, runs
from cure_study.runner.runs import Run

STATES = ("done", "running", "interrupted", "pending", "failed", "damaged")
ENDED = ("done", "failed")  # until a retry is requested


@dataclass(frozen=True)
class State:
    """The state of a run: `what` is one of `STATES`; `seconds` of it so far."""

    what: str
    seconds: float = 0.0
    error: str = ""
    cell: int | None = None


def state(run: Run, runs_folder: Path) -> State:
    """The state of a run in a folder of runs; changes nothing."""
    partials = run_folder.partials(runs_folder, run.name)
    if partials:
        try:
            with run_folder.claimed(run.name, runs_folder):
                pass
        except run_folder.BusyError:
            since = min((path.stat().st_ctime for path in partials if path.exists()), default=0.0)
            return State("running", time.time() - since if since else 0.0)
    folder, failure = (
        runs_folder / run.name,
        runs_folder / f"{run.name}-failed" / run_folder.FAILURE,
    )
    try:
        if (folder / RECORD).exists():
            record = read_record(folder / RECORD)
            check_results(folder, record)
            return _state("done", folder / RECORD, record)
        if failure.exists():
            return _state("failed", failure, read_record(failure))
    except DamagedFileError as error:
        return State("damaged", error=str(error))
    return State("interrupted" if partials else "pending")


def _state(what: str, path: Path, record: dict[str, Any]) -> State:
    match {"error": "", "cell": None} | record:
        case {
            "seconds": int() | float() as seconds,
            "error": str() as error,
            "cell": int() | None as cell,
        }:
            return State(what, seconds, error, cell)
    raise DamagedFileError(path, "it is not a run's record")


def done_runs(
    plan: Iterable[Run], runs_folder: Path
) -> tuple[list[tuple[Path, dict[str, Any]]], list[DamagedFileError]]:
    """Folder and record of every done run of a plan, in its order, and the errors of damaged ones.

    By whatever code and data they were run. A record that cannot be read counts as damaged, even
    if it may be of another study.
    """
    position = {run.recipe: number for number, run in enumerate(plan)}
    done, damaged = [], []
    for path in sorted(runs_folder.glob(f"*/{RECORD}")):
        try:
            record = read_record(path)
            if record.get("recipe") in position:  # a sweep's record has none
                check_results(path.parent, record)
                done.append((path.parent, record))
        except DamagedFileError as error:
            damaged.append(error)
    return sorted(done, key=lambda run: position[run[1]["recipe"]]), damaged


def time_left(states: Mapping[Run, State], at_once: int) -> str:
    """The time until the rest is done, estimated by the mean of each notebook's done runs."""
    durations: dict[str, list[float]] = defaultdict(list)
    for run, known in states.items():
        if known.what == "done":
            durations[run.notebook].append(known.seconds)
    rest = {run: known.seconds for run, known in states.items() if known.what not in ENDED}
    if not durations.keys() >= {run.notebook for run in rest}:
        return "time left unknown until a run is done"
    missing = [max(mean(durations[r.notebook]) - seconds, 0.0) for r, seconds in rest.items()]
    seconds = sum(missing) / max(at_once, 1)
    if seconds < 90:
        return f"about {seconds:.0f} s left"
    minutes = seconds / 60
    return f"about {minutes:.0f} min left" if minutes < 90 else f"about {minutes / 60:.1f} h left"


def rerun_command(study: Path, run: Run, runs_folder: Path) -> str:
    """The command that executes one run of a study again."""
    command = ["cure", "batch", "run", str(study), "--only", run.version[:8]]
    return shlex.join(
        command if runs_folder == runs.RUNS else [*command, "--runs", str(runs_folder)]
    )
