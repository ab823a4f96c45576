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
    "status": "how the runs stand, from another terminal too",
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
                "--retry-failed", action="store_true", help="those that failed, once more"
            )
            action.add_argument(
                "--only",
                nargs="+",
                default=[],
                metavar="RUN",
                help="just these, by name or hash, whether done or failed",
            )


def _plan(asked: argparse.Namespace) -> int:
    states = _survey(asked)
    _list(states)
    return 0


def _run(asked: argparse.Namespace) -> int:
    from cure_study.runner.batch import study as batch
    from cure_study.runner.batch.execute import carry_out_all

    if asked.cores is not None and asked.cores < 1:
        raise ValueError(f"--cores {asked.cores}; give 1 or more")
    study = batch.read(asked.study)
    states = carry_out_all(
        study,
        asked.runs,
        scheduler=asked.scheduler,
        cores=asked.cores,
        retry_failed=asked.retry_failed,
        only=asked.only,
    )
    _summary(states, asked)
    return 1 if any(own.what == "failed" for own in states.values()) else 0


def _status(asked: argparse.Namespace) -> int:
    _summary(_survey(asked), asked)
    return 0


def _collect(asked: argparse.Namespace) -> int:
    from cure_study.runner.batch import collect as batch_collect
    from cure_study.runner.batch import study as batch

    study = batch.read(asked.study)
    path, flags = batch_collect.save(study, asked.runs)
    for flag in flags:
        print(f"note: {flag}", file=sys.stderr)
    print(path)
    return 0


def _report(asked: argparse.Namespace) -> int:
    from cure_study.runner.batch import report as batch_report
    from cure_study.runner.batch import study as batch

    print(batch_report.save(batch.read(asked.study), asked.runs, asked.study))
    return 0


def _survey(asked: argparse.Namespace) -> dict:
    from cure_study.runner.batch import state as batch_state
    from cure_study.runner.batch import study as batch

    return {run: batch_state.state(run, asked.runs) for run in batch.read(asked.study).plan()}


def _list(states: dict) -> None:
    from cure_study.runner.batch import study as batch

    names = batch.varying(run.parameters for run in states)
    for run, own in states.items():
        print(f"{own.what:<12} {run.name}  {batch.told({n: run.parameters.get(n) for n in names})}")
    print(f"{len(states)} runs")


def _summary(states: dict, asked: argparse.Namespace) -> None:
    """Counts, what is left, what runs, and what failed with how to run it again."""
    from cure_study.runner.batch import state as batch_state

    counts = Counter(own.what for own in states.values())
    parts = [f"{counts[w]} {w}" for w in batch_state.STATES if counts[w]]
    print(f"{len(states)} runs: {', '.join(parts)}")
    for run, own in states.items():
        if own.what == "running":
            print(f"running: {run.name} for {own.seconds:.0f} s")
    if len(states) > sum(counts[what] for what in batch_state.ENDED):
        print(batch_state.told_left(batch_state.remaining(states, counts["running"] or 1)))
    for run, own in states.items():
        if own.what == "failed":
            cell = f"cell {own.cell}, " if own.cell else ""
            print(f"failed: {run.name}: {cell}{own.error}")
            print(f"  again: {batch_state.again(asked.study, run, asked.runs)}")
        elif own.what == "damaged":
            print(f"damaged: {run.name}: {own.error}")
    planned = {run.version for run in states}
    done = [record for _, record in batch_state.done_runs(states, asked.runs)[0]]
    other = {record["recipe"] for record in done if record["version"] not in planned}
    if other:
        print(f"{len(other)} are done by other code or data, which `collect` takes too, and flags")
