"""The command `cure`: run the study, its comparison, or many runs; draw figures, look at data."""

import argparse
import dataclasses
import errno
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cure_study.data.yaml_files import parse_yaml
from cure_study.runner import run_folder, runs
from cure_study.runner.batch import cli as batch_cli
from cure_study.runner.errors import report_error
from cure_study.runner.parameters import check_machine, check_name
from cure_study.runner.unlearn_cli import run_unlearning

ROOT = runs.ROOT
PARTS = ("methods", "requests", "seeds", "stages")


def main(arguments: list[str] | None = None) -> int:
    """Run the command given on the command line; returns the exit status.

    0: done; 1: failed, with the reason in a line; 130: stopped by Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog="cure", description=__doc__)
    commands = parser.add_subparsers(required=True)
    study = commands.add_parser("study", help="run a notebook of the study in a profile")
    study.add_argument("--profile", default="quick", help="quick (the default), lfw, tiny, paper")
    study.add_argument("--notebook", default="02_unlearning")
    study.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a parameter of the profile, as in --set method=cure (YAML)",
    )
    study.add_argument("--runs", type=Path, default=runs.RUNS, help="where run folders go")
    study.set_defaults(
        do=lambda asked: run_study(
            asked.notebook, asked.profile, asked.runs, _changes(asked.changes)
        )
    )
    bare = commands.add_parser(
        "unlearn", help="the same without a notebook: tables alone; see also accelerate launch"
    )
    bare.add_argument("--profile", default="quick", help="quick (the default), lfw, tiny, paper")
    bare.add_argument("--set", dest="changes", action="append", default=[], metavar="NAME=VALUE")
    bare.add_argument("--out", type=Path, default=runs.RUNS / "unlearn", help="where tables go")
    bare.set_defaults(
        do=lambda asked: run_unlearning(asked.profile, asked.out, _changes(asked.changes)) and None
    )
    claim = commands.add_parser(
        "quality", help="run the experiment of notebook 03; a run stopped goes on where it was"
    )
    claim.add_argument("--profile", default="quick", help="quick (the default), tiny")
    claim.add_argument("--rows", type=Path, help="where the rows go (default: in the cache)")
    claim.set_defaults(do=lambda asked: run_quality(asked.profile, asked.rows))
    figures = commands.add_parser("figures", help="draw figures/ anew from its tables")
    figures.add_argument("--from", dest="run", type=Path, help="take a run's tables in first")
    figures.set_defaults(do=lambda asked: draw_figures(asked.run))
    compared = commands.add_parser("compare", help="do what the comparison's tables lack")
    compared.add_argument("dataset", help="one of the plan's: synthfaces, lfw, redrawn; or all")
    for part in PARTS:
        compared.add_argument(
            f"--{part}",
            type=_numbers if part == "seeds" else _words,
            metavar="A,B",
            help=f"these {part} alone (default: all)",
        )
    compared.add_argument("--plan", type=Path, default=runs.NOTEBOOKS / "comparison.yaml")
    compared.add_argument("--into", type=Path, default=ROOT / "figures", help="where tables lie")
    compared.add_argument(
        "--fast", action="store_true", help="compile the encoders (needs a C++ compiler)"
    )
    compared.set_defaults(do=run_comparison)
    sweep = commands.add_parser("sweep", help="sensitivity to K, tau, temperature, map (25 min)")
    sweep.add_argument("--out", type=Path, default=runs.RUNS / "sweep", help="goes on where it was")
    sweep.set_defaults(do=lambda asked: run_sweep(asked.out))
    batch_cli.add_to(commands)
    data = commands.add_parser("data", help="look at data sets").add_subparsers(required=True)
    doctor = data.add_parser("doctor", help="look at a data set before training on it")
    doctor.add_argument("name", help="a manifest's name, or the path of a YAML file")
    doctor.add_argument("--root", type=Path, help="where the manifest's paths start from")
    doctor.add_argument("--picture", type=Path, help="save the mean face on the template here")
    doctor.set_defaults(do=lambda asked: look_at(asked.name, asked.root, asked.picture))
    asked = parser.parse_args(arguments)
    try:
        done = asked.do(asked)
        return done if isinstance(done, int) else 0
    except (Exception, KeyboardInterrupt) as error:
        return report_error(error, asked)


def run_study(
    notebook: str, profile: str, where: Path, changes: Mapping[str, Any] | None = None
) -> Path:
    """Execute a notebook in a profile into its run folder, and print where it is and what it found.

    The folder appears when the run is whole, in the place of an earlier one of the same name.
    `changes` replace the profile's parameters.
    Raises FileNotFoundError for an unknown notebook or profile, ValueError for a name or value that
    does not fit the notebook's parameters, and what `run_folder.execute` raises.
    """
    source = runs.find_notebook(notebook)
    given = runs.profile_parameters(source, profile)
    given = runs.with_changes(source, given, changes or {}, "--set")
    check_machine(given)
    run = runs.plan_run(source, profile, given)
    began = time.perf_counter()
    folder = run_folder.execute(run, where, bar=sys.stderr.isatty())
    seconds = time.perf_counter() - began
    if (folder / "table.csv").is_file():
        import pandas as pd

        table = pd.read_csv(folder / "table.csv", keep_default_na=False)
        print(table.to_string(index=False), end="\n\n")
    print(f"{notebook}, profile {profile}: {seconds / 60:.1f} minutes\n{folder}")
    return folder


def run_comparison(asked: argparse.Namespace) -> None:
    """Run what the comparison's tables lack of its plan, a row at a time.

    Raises ValueError for a name that the plan lacks, and what loading a data set raises, before any
    work.
    """
    from cure_study.data import manifests
    from cure_study.experiments.comparison import compare, read_plan

    plan = read_plan(asked.plan)
    given = {part: getattr(asked, part) for part in PARTS if getattr(asked, part) is not None}
    check_name("the data set", asked.dataset, [*plan.datasets, "all"])
    names = plan.datasets if asked.dataset == "all" else [asked.dataset]
    if len(names) > 1 and asked.methods:
        raise ValueError(
            "--methods with all: data sets have methods of their own; name one of them"
        )
    for name in names:
        _check_parts(plan, name, given)
    for name in names[1:]:  # a missing data set is reported before hours are spent
        manifests.load(plan.tuned_on(name), **plan.arena(name).options)
    asked.into.mkdir(parents=True, exist_ok=True)
    for name in names:
        compare(plan, name, asked.into, fast=asked.fast, **given)


def _check_parts(plan: Any, dataset: str, given: Mapping[str, Any]) -> None:
    """Raise ValueError for a method, request, seed or stage that the plan lacks on a data set."""
    from cure_study.experiments.comparison.store import KEYS

    known = {
        "methods": plan.entrants(dataset),
        "requests": plan.requests,
        "seeds": plan.arena(dataset).seeds,
        "stages": list(KEYS),
    }
    for part, names in given.items():
        for name in names:
            check_name(f"--{part}: on {dataset}, {part[:-1]}", name, known[part])


def run_quality(profile: str, rows: Path | None) -> None:
    """Run what of notebook 03's experiment is not yet among the rows; print where they are."""
    from cure_study.experiments.quality import study as quality_study

    source = runs.find_notebook("03_quality_aware_forgetting")
    given = runs.declared(source) | runs.profile_parameters(source, profile)
    known = {field.name for field in dataclasses.fields(quality_study.Setting)}
    setting = quality_study.Setting(**{k: v for k, v in given.items() if k in known})
    rows = _writable(rows or quality_study.rows_path(setting))
    table = quality_study.run(setting, given["seeds"], rows)
    print(f"{len(table)} runs, {table.seconds.sum() / 60:.1f} minutes\n{rows}")


def _writable(path: Path) -> Path:
    """A file that will be written; a place where that cannot be is reported before the work."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "Is a directory", str(path))
    return path


def _words(text: str) -> list[str]:
    """A,B as a list of names."""
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise argparse.ArgumentTypeError(f"{text!r} has an empty name; write A,B")
    return words


def _numbers(text: str) -> list[int]:
    """0,1,2 as a list of whole numbers."""
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of whole numbers; write 0,1,2"
        ) from None


def _changes(asked: list[str]) -> dict[str, Any]:
    """NAME=VALUE, as given on the command line. Raises ValueError for a name given twice."""
    changes: dict[str, Any] = {}
    for change in asked:
        name, equals, value = change.partition("=")
        if not (name and equals):
            raise ValueError(f"--set {change}; write it as NAME=VALUE")
        if name in changes:
            raise ValueError(f"--set gives {name} twice; give it once")
        changes[name] = parse_yaml(value, f"--set {change}")
    return changes


def look_at(name: str, root: Path | None = None, picture: Path | None = None) -> None:
    """Print what a look at a data set finds; save its mean face where a `picture` is asked for."""
    from cure_study.data.doctor import examine

    if picture is not None:
        _writable(picture)
    checkup = examine(name, root=root)
    print(checkup)
    if picture is not None:
        checkup.picture().savefig(picture)
        print(picture)


def draw_figures(run: Path | None) -> None:
    """Redraw figures/, from a run's tables where one is named."""
    from cure_study.figures.index import redraw
    from cure_study.runner.figure_tables import adopt

    folder = ROOT / "figures"
    if run is not None:
        adopt(run, folder)
    for path in redraw(folder):
        print(path.relative_to(ROOT))


def run_sweep(folder: Path) -> None:
    """Do the runs of the sensitivity sweep that `folder` lacks; `cure figures --from` takes it."""
    from cure_study.experiments.clusters.sweep import sweep

    rows = sweep(folder)
    print(f"{len(rows)} runs\n{folder}")
