"""The command `cure`: run the study, answer a request, compare methods, run many, check data."""

import argparse
import errno
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cure_study.data.yaml_files import parse_yaml
from cure_study.runner import forget_cli, run_folder, runs
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
    parsed = _parser().parse_args(arguments)
    try:
        return parsed.do(parsed) or 0
    except (Exception, KeyboardInterrupt) as error:
        return report_error(error, parsed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cure", description=__doc__)
    commands = parser.add_subparsers(required=True)

    profile = argparse.ArgumentParser(add_help=False)
    profile.add_argument("--profile", default="quick", help="quick (the default), lfw, tiny, paper")
    profile.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a parameter of the profile, as in --set method=cure (YAML)",
    )

    study = commands.add_parser(
        "study", parents=[profile], help="run a notebook of the study in a profile"
    )
    study.add_argument("--notebook", default="02_unlearning")
    study.add_argument("--runs", type=Path, default=runs.RUNS, help="where run folders go")
    study.set_defaults(do=lambda a: run_study(a.notebook, a.profile, a.runs, _changes(a.changes)))

    unlearn = commands.add_parser(
        "unlearn",
        parents=[profile],
        help="the same without a notebook: tables alone; see also accelerate launch",
    )
    unlearn.add_argument("--out", type=Path, default=runs.RUNS / "unlearn", help="where tables go")
    unlearn.set_defaults(do=lambda a: run_unlearning(a.profile, a.out, _changes(a.changes)))

    forget_cli.add_to(commands, _changes)

    quality = commands.add_parser(
        "quality", help="run the experiment of notebook 03; a run stopped goes on where it was"
    )
    quality.add_argument("--profile", default="quick", help="quick (the default), tiny")
    quality.add_argument("--rows", type=Path, help="where the rows go (default: in the cache)")
    quality.set_defaults(do=lambda a: run_quality(a.profile, a.rows))

    figures = commands.add_parser("figures", help="redraw figures/ from its tables")
    figures.add_argument("--from", dest="run", type=Path, help="take a run's tables in first")
    figures.set_defaults(do=lambda a: draw_figures(a.run))

    compare = commands.add_parser("compare", help="run the missing rows of the comparison")
    compare.add_argument("dataset", help="one of the plan's: synthfaces, lfw, redrawn; or all")
    for part in PARTS:
        kind = _numbers if part == "seeds" else _names
        compare.add_argument(f"--{part}", type=kind, metavar="A,B", help=f"only these {part}")
    compare.add_argument("--plan", type=Path, default=runs.NOTEBOOKS / "comparison.yaml")
    compare.add_argument("--into", type=Path, default=ROOT / "figures", help="where tables lie")
    compare.add_argument(
        "--fast", action="store_true", help="compile the encoders (needs a C++ compiler)"
    )
    compare.set_defaults(do=run_comparison)

    sweep = commands.add_parser("sweep", help="sensitivity to K, tau, temperature, map (25 min)")
    sweep.add_argument("--out", type=Path, default=runs.RUNS / "sweep", help="goes on where it was")
    sweep.set_defaults(do=lambda a: run_sweep(a.out))

    row = commands.add_parser("requests", help="ten requests in a row against all at once (10 min)")
    row.add_argument(
        "--out", type=Path, default=runs.RUNS / "requests", help="goes on where it was"
    )
    row.set_defaults(do=lambda a: run_requests(a.out))

    batch_cli.add_to(commands)

    data = commands.add_parser("data", help="check data sets").add_subparsers(required=True)
    doctor = data.add_parser("doctor", help="check a data set before training on it")
    doctor.add_argument("name", help="a manifest's name, or the path of a YAML file")
    doctor.add_argument("--root", type=Path, help="where the manifest's paths start from")
    doctor.add_argument("--picture", type=Path, help="save the mean face on the template here")
    doctor.set_defaults(do=lambda a: examine_data(a.name, a.root, a.picture))
    return parser


def run_study(
    notebook: str, profile: str, runs_folder: Path, changes: Mapping[str, Any] | None = None
) -> None:
    """Execute a notebook in a profile into its run folder, and print where it is and its results.

    The folder appears when the run is complete, replacing an earlier one of the same name.
    `changes` replace the profile's parameters.
    Raises FileNotFoundError for an unknown notebook or profile, ValueError for a name or value that
    does not fit the notebook's parameters, and what `run_folder.execute` raises.
    """
    source = runs.find_notebook(notebook)
    given = runs.profile_parameters(source, profile, changes)
    check_machine(given)
    run = runs.plan_run(source, profile, given)
    began = time.perf_counter()
    print(f"{notebook}, profile {profile}", flush=True)
    folder = run_folder.execute(run, runs_folder, live=True)
    seconds = time.perf_counter() - began
    if (folder / "table.csv").is_file():
        import pandas as pd

        from cure_study.evaluation.report import key_lines, legends

        table = key_lines(pd.read_csv(folder / "table.csv", keep_default_na=False))
        print(f"\n{table.to_string()}")
        print(*legends(table.to_numpy().ravel()), "", sep="\n")
    print(f"{seconds / 60:.1f} minutes; results, figures and the executed notebook:\n{folder}")
    print(f"next: jupyter lab {folder / source.name}")


def run_comparison(arguments: argparse.Namespace) -> None:
    """Run the rows of the comparison's plan that its tables lack.

    Raises ValueError for a name that the plan lacks, and what loading a data set raises, before any
    work.
    """
    from cure_study.data import manifests
    from cure_study.experiments.comparison.plan import read_plan
    from cure_study.experiments.comparison.runs import compare

    plan = read_plan(arguments.plan)
    given = {
        part: getattr(arguments, part) for part in PARTS if getattr(arguments, part) is not None
    }
    check_name("the data set", arguments.dataset, [*plan.datasets, "all"])
    names = plan.datasets if arguments.dataset == "all" else [arguments.dataset]
    if len(names) > 1 and arguments.methods:
        raise ValueError("--methods with all: data sets have different methods; name one of them")
    for name in names:
        _check_parts(plan, name, given)
    for name in names[1:]:  # a missing data set is reported before hours are spent
        manifests.load(plan.tuned_on(name), **plan.dataset_plan(name).options)
    arguments.into.mkdir(parents=True, exist_ok=True)
    for name in names:
        compare(plan, name, arguments.into, fast=arguments.fast, **given)


def _check_parts(plan: Any, dataset: str, given: Mapping[str, Any]) -> None:
    """Raise ValueError for a method, request, seed or stage that the plan lacks on a data set."""
    from cure_study.experiments.comparison.store import KEYS

    known = {
        "methods": plan.methods_on(dataset),
        "requests": plan.requests,
        "seeds": plan.dataset_plan(dataset).seeds,
        "stages": list(KEYS),
    }
    for part, names in given.items():
        for name in names:
            check_name(f"--{part}: on {dataset}, {part[:-1]}", name, known[part])


def run_quality(profile: str, rows: Path | None) -> None:
    """Run what of notebook 03's experiment is not yet among the rows; print where they are."""
    from cure_study.experiments.quality import study as quality_study
    from cure_study.experiments.quality.setting import setting_of

    source = runs.find_notebook("03_quality_aware_forgetting")
    given = runs.declared(source) | runs.profile_parameters(source, profile)
    setting = setting_of(given)
    rows = _writable(rows or quality_study.rows_path(setting))
    table = quality_study.run(setting, given["seeds"], rows)
    print(f"{len(table)} runs, {table.seconds.sum() / 60:.1f} minutes\n{rows}")


def examine_data(name: str, root: Path | None = None, picture: Path | None = None) -> None:
    """Print the checks of a data set; save its mean face to the path `picture`, if given."""
    from cure_study.data.doctor import examine

    if picture is not None:
        _writable(picture)
    checkup = examine(name, root=root)
    print(checkup)
    if picture is not None:
        checkup.figure().savefig(picture)
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
    """Run what `folder` lacks of the sensitivity sweep, for `cure figures --from`."""
    from cure_study.experiments.clusters.sweep import sweep

    rows = sweep(folder)
    print(f"{len(rows)} runs\n{folder}")


def run_requests(folder: Path) -> None:
    """Run the seeds that `folder` lacks of requests in a row, for `cure figures --from`."""
    from cure_study.erasure.sequence import run

    rows = run(folder)
    print(f"{len(rows)} rows of {rows.seed.nunique()} seeds\n{folder}")


def _writable(path: Path) -> Path:
    """The path of a file to be written; a place that cannot hold it is reported before the work."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "Is a directory", str(path))
    return path


def _names(text: str) -> list[str]:
    """A,B as a list of names."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} has an empty name; write A,B")
    return names


def _numbers(text: str) -> list[int]:
    """0,1,2 as a list of whole numbers."""
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        message = f"{text!r} is not a list of whole numbers; write 0,1,2"
        raise argparse.ArgumentTypeError(message) from None


def _changes(options: list[str]) -> dict[str, Any]:
    """The parameters of `--set NAME=VALUE`. Raises ValueError for a name given twice."""
    changes: dict[str, Any] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not (name and equals):
            raise ValueError(f"--set {option}; write it as NAME=VALUE")
        if name in changes:
            raise ValueError(f"--set gives {name} twice; give it once")
        changes[name] = parse_yaml(value, f"--set {option}")
    return changes
