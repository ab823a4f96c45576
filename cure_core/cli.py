"""The command `cure`: run the study, redraw its figures."""

import argparse
import dataclasses
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from cure_core.files import digest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"


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
    claim = commands.add_parser(
        "quality", help="run the experiment of notebook 03; a run stopped goes on where it was"
    )
    claim.add_argument("--profile", default="quick", help="quick (the default), tiny")
    claim.add_argument("--rows", type=Path, help="where the rows go (default: in the cache)")
    claim.set_defaults(do=lambda asked: run_quality(asked.profile, asked.rows))
    figures = commands.add_parser("figures", help="draw figures/ anew from its tables")
    figures.add_argument("--from", dest="run", type=Path, help="take a run's tables in first")
    figures.set_defaults(do=lambda asked: draw_figures(asked.run))
    sweep = commands.add_parser("sweep", help="sensitivity to K, tau, temperature, map (hours)")
    sweep.add_argument("--out", type=Path, default=Path("runs/sweep"), help="goes on where it was")
    sweep.set_defaults(do=lambda asked: run_sweep(asked.out))
    asked = parser.parse_args(arguments)
    try:
        asked.do(asked)
    except (ValueError, FileNotFoundError) as error:
        print(f"cure: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        from papermill.exceptions import PapermillExecutionError

        if not isinstance(error, PapermillExecutionError):
            raise
        told = f"cell {error.exec_count} failed: {error.ename}: {error.evalue}"
        print(f"cure: {told} (the notebook as far as it came is kept)", file=sys.stderr)
        return 1
    return 0


def run_study(
    notebook: str, profile: str, runs: Path, changes: Mapping[str, Any] | None = None
) -> Path:
    """Execute a notebook in a profile into its run folder, and print where it is and what it found.

    The folder appears when the run is whole; an earlier one of the same name gives way then.
    `changes` go before the profile's parameters.
    Raises FileNotFoundError for an unknown notebook or profile, ValueError for a change of a name
    that is no parameter of the notebook; papermill's error where a cell fails, after the notebook
    as far as it came was kept beside, in a folder ending in `-failed`.
    """
    import papermill

    source, settings = NOTEBOOKS / f"{notebook}.ipynb", profile_path(notebook, profile)
    for path, kind in ((source, "*.ipynb"), (settings, "*.yaml")):
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in path.parent.glob(kind)))
            raise FileNotFoundError(f"no {path.name} in {path.parent.name}/; there are {known}")
    parameters: dict[str, Any] = yaml.safe_load(settings.read_text()) or {}
    unknown = sorted(set(changes or {}) - set(papermill.inspect_notebook(source)))
    if unknown:
        raise ValueError(
            f"{notebook} has no parameter {', '.join(unknown)}; its parameters cell names them"
        )
    parameters |= changes or {}
    code = [path.read_bytes() for path in sorted((ROOT / "cure_core").rglob("*.py"))]
    version = digest(source.read_bytes(), parameters, *code)
    folder = runs.resolve() / f"{notebook}-{profile}-{version[:8]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    began = time.perf_counter()
    try:
        papermill.execute_notebook(
            source,
            partial / f"{notebook}.ipynb",
            parameters | {"out": str(partial), "progress": False},
            progress_bar=sys.stderr.isatty(),
            cwd=partial,
        )
    except BaseException:
        _replace(partial, folder.with_name(f"{folder.name}-failed"))
        raise
    seconds = time.perf_counter() - began
    record = {
        "notebook": notebook,
        "profile": profile,
        "version": version,
        "parameters": parameters,
        "seconds": round(seconds, 1),
    }
    (partial / "run.json").write_text(json.dumps(record, indent=2))
    _replace(partial, folder)
    if (folder / "table.csv").is_file():
        table = pd.read_csv(folder / "table.csv", keep_default_na=False)
        print(table.to_string(index=False), end="\n\n")
    print(f"{notebook}, profile {profile}: {seconds / 60:.1f} minutes\n{folder}")
    return folder


def profile_path(notebook: str, profile: str) -> Path:
    """A notebook's profile: from its own folder of profiles where it has one, else the shared."""
    shared = NOTEBOOKS / "profiles"
    own = shared / notebook
    return (own if own.is_dir() else shared) / f"{profile}.yaml"


def run_quality(profile: str, rows: Path | None) -> None:
    """Run what of notebook 03's experiment is not yet among the rows; print where they are.

    Raises FileNotFoundError for an unknown profile.
    """
    from cure_core import quality_study

    path = profile_path("03_quality_aware_forgetting", profile)
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise FileNotFoundError(f"no {path.name} in {path.parent.name}/; there are {known}")
    parameters = yaml.safe_load(path.read_text())
    fields = {field.name for field in dataclasses.fields(quality_study.Setting)}
    setting = quality_study.Setting(**{k: v for k, v in parameters.items() if k in fields})
    rows = rows or quality_study.rows_path(setting)
    table = quality_study.run(setting, parameters["seeds"], rows)
    print(f"{len(table)} runs, {table.seconds.sum() / 60:.1f} minutes\n{rows}")


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


def _replace(new: Path, final: Path) -> None:
    """Put folder `new` in the place of `final`."""
    if final.exists():
        shutil.rmtree(final)
    new.chmod(0o755)
    new.rename(final)
