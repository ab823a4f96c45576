"""The commands `cure batch plan|run|status|collect|report STUDY.yaml`."""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from cure_study.runner import runs

ACTIONS = {
    "plan": "check the study and list its runs; nothing is run",
    "run": "run what is pending: neither done nor failed",
    "status": "the states of the runs, from another terminal too",
    "collect": "one tidy parquet of every result",
    "report": "one HTML page of tables, figures and failed runs",
}


def add_to(commands: Any) -> None:
    """Add `batch` to the command line's sub-commands."""
    batch = commands.add_parser("batch", help="run a study of many runs")
    actions = batch.add_subparsers(required=True)
    for name, text in ACTIONS.items():
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("study", type=Path, metavar="STUDY.yaml")
        action.add_argument("--runs", type=Path, default=runs.RUNS, help="where run folders go")
        action.set_defaults(do=globals()[f"_{name}"])
        if name == "run":
            action.add_argument(
                "--scheduler",
                metavar="tcp://HOST:PORT",
                help="a running Dask scheduler; without one, this machine",
            )
            action.add_argument(
                "--cores", type=int, help="how many of this machine's cores to use (default: all)"
            )
            action.add_argument(
                "--retry-failed", action="store_true", help="run those that failed once more"
            )
            action.add_argument(
                "--only",
                nargs="+",
                default=[],
                metavar="RUN",
                help="only these, by name or hash, whether done or failed",
            )


def _plan(arguments: argparse.Namespace) -> None:
    from cure_study.runner.batch.disk import disk_needed
    from cure_study.runner.batch.state import time_left
    from cure_study.runner.batch.study import describe, differing

    states = _states(arguments)
    names = differing(run.parameters for run in states)
    for run, state in states.items():
        parameters = describe({name: run.parameters.get(name) for name in names})
        print(f"{state.what:<12} {run.name}  {parameters}")
    print(f"{len(states)} runs; {time_left(states, 1)}, one at a time")
    print(disk_needed(states, arguments.runs.resolve()))


def _run(arguments: argparse.Namespace) -> int:
    from cure_study.runner.batch import study as batch
    from cure_study.runner.batch.execute import execute_study

    if arguments.cores is not None and arguments.cores < 1:
        raise ValueError(f"--cores {arguments.cores}; give 1 or more")
    states = execute_study(
        batch.read(arguments.study),
        arguments.runs,
        scheduler=arguments.scheduler,
        cores=arguments.cores,
        retry_failed=arguments.retry_failed,
        only=arguments.only,
    )
    _print_summary(states, arguments)
    return int(any(state.what == "failed" for state in states.values()))


def _status(arguments: argparse.Namespace) -> None:
    _print_summary(_states(arguments), arguments)


def _collect(arguments: argparse.Namespace) -> None:
    from cure_study.runner.batch import collect
    from cure_study.runner.batch import study as batch

    path, notes = collect.save(batch.read(arguments.study), arguments.runs)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(path)


def _report(arguments: argparse.Namespace) -> None:
    from cure_study.runner.batch import report
    from cure_study.runner.batch import study as batch

    print(report.save(batch.read(arguments.study), arguments.runs, arguments.study))


def _states(arguments: argparse.Namespace) -> dict:
    from cure_study.runner.batch import study as batch
    from cure_study.runner.batch.state import state

    return {run: state(run, arguments.runs) for run in batch.read(arguments.study).plan()}


def _print_summary(states: dict, arguments: argparse.Namespace) -> None:
    """Counts, the time left, what runs, and what failed with the command to run it again."""
    from cure_study.runner.batch.state import ENDED, STATES, done_runs, rerun_command, time_left

    counts = Counter(state.what for state in states.values())
    parts = [f"{counts[what]} {what}" for what in STATES if counts[what]]
    print(f"{len(states)} runs: {', '.join(parts)}")
    for run, state in states.items():
        if state.what == "running":
            print(f"running: {run.name} for {state.seconds:.0f} s")
    if len(states) > sum(counts[what] for what in ENDED):
        print(time_left(states, counts["running"]))
    for run, state in states.items():
        if state.what in ("failed", "damaged"):
            cell = f"cell {state.cell}, " if state.cell else ""
            print(f"{state.what}: {run.name}: {cell}{state.error}")
        if state.what == "failed":
            print(f"  again: {rerun_command(arguments.study, run, arguments.runs)}")
    planned = {run.version for run in states}
    done = [record for _, record in done_runs(states, arguments.runs)[0]]
    other = {record["recipe"] for record in done if record["version"] not in planned}
    if other:
        print(f"{len(other)} are done by other code or data, which `collect` takes too, and flags")
