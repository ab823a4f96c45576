"""The command `cure`: run the study, its comparison, or many runs; draw figures, look at data."""

import argparse
import dataclasses
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cure_core import batch_cli, run_folder, runs
from cure_core.unlearn_cli import run_unlearning

ROOT = runs.ROOT


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and do as asked; returns the exit status."""
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
    study.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders go")
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
    bare.add_argument("--out", type=Path, default=Path("runs/unlearn"), help="where tables go")
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
    for part in ("methods", "requests", "seeds", "stages"):
        compared.add_argument(
            f"--{part}", type=_list, metavar="A,B", help=f"these {part} alone (default: all)"
        )
    compared.add_argument("--plan", type=Path, default=runs.NOTEBOOKS / "comparison.yaml")
    compared.add_argument("--into", type=Path, default=ROOT / "figures", help="where tables lie")
    compared.add_argument(
        "--fast", action="store_true", help="compile the encoders (needs a C++ compiler)"
    )
    compared.set_defaults(do=run_comparison)
    sweep = commands.add_parser("sweep", help="sensitivity to K, tau, temperature, map (25 min)")
    sweep.add_argument("--out", type=Path, default=Path("runs/sweep"), help="goes on where it was")
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
    except (ValueError, FileNotFoundError, MemoryError) as error:
        print(f"cure: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        from papermill.exceptions import PapermillExecutionError

        if not isinstance(error, PapermillExecutionError):
            raise
        told = f"cell {error.exec_count} failed: {error.ename}: {error.evalue}"
        print(
            f"cure: {told} (the notebook as far as it came is kept; what "
            "was trained, too: the same command goes on)",
            file=sys.stderr,
        )
        return 1


def run_study(
    notebook: str, profile: str, where: Path, changes: Mapping[str, Any] | None = None
) -> Path:
    """Execute a notebook in a profile into its run folder, and print where it is and what it found.

    The folder appears when the run is whole; an earlier one of the same name gives way then.
    `changes` go before the profile's parameters.
    Raises FileNotFoundError for an unknown notebook or profile, ValueError for a change of a name
    that is no parameter of the notebook, and what `run_folder.execute` raises.
    """
    source = runs.find_notebook(notebook)
    given = runs.read_profile(notebook, profile) | dict(changes or {})
    runs.check_names(source, changes or {})
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
    """Do what the comparison's tables lack of its plan, a row at a time."""
    from cure_core import manifests
    from cure_core.comparison import compare, read_plan

    parts = {name: getattr(asked, name) for name in ("methods", "requests", "seeds", "stages")}
    given = {name: part for name, part in parts.items() if part is not None}
    plan = read_plan(asked.plan)
    names = plan.datasets if asked.dataset == "all" else [asked.dataset]
    if len(names) > 1 and asked.methods:
        raise ValueError(
            "--methods with all: data sets have methods of their own; name one of them"
        )
    for name in names[1:]:  # a data set that is not there is told before hours are spent
        manifests.load(plan.tuned_on(name), **plan.arena(name).options)
    for name in names:
        compare(plan, name, asked.into, fast=asked.fast, **given)


def run_quality(profile: str, rows: Path | None) -> None:
    """Run what of notebook 03's experiment is not yet among the rows; print where they are."""
    from cure_core import quality_study

    parameters = runs.read_profile("03_quality_aware_forgetting", profile)
    known = {field.name for field in dataclasses.fields(quality_study.Setting)}
    setting = quality_study.Setting(**{k: v for k, v in parameters.items() if k in known})
    rows = rows or quality_study.rows_path(setting)
    table = quality_study.run(setting, parameters["seeds"], rows)
    print(f"{len(table)} runs, {table.seconds.sum() / 60:.1f} minutes\n{rows}")


def _list(text: str) -> list[Any]:
    """A,B,3 as a list of words and numbers."""
    return [int(part) if part.isdigit() else part for part in text.split(",")]


def _changes(asked: list[str]) -> dict[str, Any]:
    """NAME=VALUE, as given on the command line."""
    split = [change.partition("=") for change in asked]
    for name, equals, _ in split:
        if not equals:
            raise ValueError(f"--set {name}; write it as NAME=VALUE")
    try:
        return {name: yaml.safe_load(value) for name, _, value in split}
    except yaml.YAMLError as error:
        raise ValueError(f"--set {' '.join(asked)} is not YAML: {error}") from error


def look_at(name: str, root: Path | None = None, picture: Path | None = None) -> None:
    """Print what a look at a data set finds; save its mean face where a `picture` is asked for."""
    from cure_core.doctor import examine

    checkup = examine(name, root=root)
    print(checkup)
    if picture is not None:
        checkup.picture().savefig(picture)
        print(picture)


def draw_figures(run: Path | None) -> None:
    """Redraw figures/, from a run's tables where one is named."""
    from cure_core.figure_index import adopt, redraw

    folder = ROOT / "figures"
    if run is not None:
        adopt(run, folder)
    for path in redraw(folder):
        print(path.relative_to(ROOT))


def run_sweep(folder: Path) -> None:
    """Do the runs of the sensitivity sweep that `folder` lacks; `cure figures --from` takes it."""
    from cure_core.sweep import sweep

    rows = sweep(folder)
    print(f"{len(rows)} runs\n{folder}")
