"""The notebooks: .ipynb and .py in step, profiles that fit, and outputs that a seed repeats."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import papermill
import pytest
import yaml

from cure_core.runs import profile_path

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
STEMS = sorted(
    {
        path.relative_to(NOTEBOOKS).with_suffix("").as_posix()
        for path in NOTEBOOKS.rglob("*")
        if path.suffix in {".ipynb", ".py"} and not {".ipynb_checkpoints", "course"} & {*path.parts}
    }
)
LIGHTER = {  # than the profile, for the sake of time
    "05_comparison": {"methods": ["cure", "cure_plus", "dispersion"], "seeds": [0]},
    "06_attacks": {"seeds": [0], "relearn_images": [1], "relearn_epochs": 2},
}
LESSONS = sorted(
    path.relative_to(NOTEBOOKS).with_suffix("").as_posix()
    for path in (NOTEBOOKS / "course" / "source").glob("*/*.py")
)
CELL_SECONDS = 120
NOTEBOOK_SECONDS = 240

each_notebook = pytest.mark.parametrize("stem", STEMS)


def content(notebook):
    """What a notebook says, without what a run or an editor leaves in it."""
    return [
        (cell.cell_type, cell.source, {key: cell.metadata.get(key) for key in ("tags", "nbgrader")})
        for cell in notebook.cells
    ]


@pytest.fixture(scope="session")
def caches(tmp_path_factory):
    """A cache for all first runs and one for all repeats: each model is trained once in either."""
    return [tmp_path_factory.mktemp(name) for name in ("first", "second")]


def run(command, folder, cache):
    """Run a Jupyter command inside `folder`, without data sets.

    One thread: at this size more of them mostly wait for each other on a busy machine.
    """
    environment = {
        "CURE_CACHE": str(cache),
        "CURE_DATA_ROOT": str(folder / "none"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=NOTEBOOK_SECONDS,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


def execute(notebook, profile, folder, cache):
    """Execute `notebook` by papermill inside `folder`; returns the executed file."""
    executed = folder / notebook.name
    limits = ["--start-timeout", "60", "--execution-timeout", str(CELL_SECONDS)]
    arguments = [str(notebook), str(executed), "-f", str(profile), "--cwd", str(folder)]
    lighter = yaml.safe_dump(LIGHTER.get(notebook.stem, {}))
    run(["papermill", *arguments, "-y", lighter, *limits, "--no-progress-bar"], folder, cache)
    return executed


def rerun(executed, folder, cache):
    """Execute `executed` once more inside `folder` and compare every output with the stored one."""
    shutil.copy(executed, folder)
    limits = ["--nbval-kernel-startup-timeout=60", f"--nbval-cell-timeout={CELL_SECONDS}"]
    tidy = [f"--nbval-sanitize-with={ROOT / 'tests' / 'nbval_sanitize.cfg'}", "-p no:cacheprovider"]
    run(["pytest", "--nbval", *tidy, *limits, executed.name], folder, cache)


@pytest.mark.parametrize("stem", [*STEMS, *LESSONS])
def test_ipynb_and_py_are_in_step(stem):
    stored = nbformat.read(NOTEBOOKS / f"{stem}.ipynb", as_version=4)
    assert content(stored) == content(jupytext.read(NOTEBOOKS / f"{stem}.py")), "run make notebooks"
    assert stored.metadata.kernelspec.name == "python3"
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code), "run make notebooks"


@each_notebook
def test_profiles_hold_only_declared_parameters(stem):
    declared = set(papermill.inspect_notebook(NOTEBOOKS / f"{stem}.ipynb"))
    profiles = list(profile_path(stem, "tiny").parent.glob("*.yaml"))
    assert profiles
    for profile in profiles:
        unknown = set(yaml.safe_load(profile.read_text())) - declared
        assert not unknown, f"{stem} declares no {sorted(unknown)}, which {profile.name} sets"


@pytest.mark.xdist_group("notebooks")  # one after another, for the sake of the caches
@each_notebook
def test_notebook_runs_and_repeats(stem, tmp_path, caches):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    executed = execute(NOTEBOOKS / f"{stem}.ipynb", profile_path(stem, "tiny"), first, caches[0])
    rerun(executed, second, caches[1])
