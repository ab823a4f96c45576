"""The notebooks: .ipynb and .py in step, profiles that fit, and outputs that a seed repeats."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import jupytext
import nbformat
import papermill
import pytest
import yaml

from cure_core import encoders, objectives
from cure_core.runtime.amp import resolved
from cure_study.data.yaml_files import read_yaml
from cure_study.experiments import study
from cure_study.experiments.quality.setting import QualitySetting, conditions
from cure_study.runner import runs

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
STEMS = sorted({path.stem for path in NOTEBOOKS.glob("*") if path.suffix in {".ipynb", ".py"}})
LIGHTER = {  # than the profile, for the sake of time
    "04_embedding_tsne": {"method": "dispersion"},  # one that chooses no clusters
    "05_comparison": {"methods": ["cure", "cure_plus", "dispersion"], "seeds": [0]},
    "06_attacks": {"seeds": [0], "relearn_images": [1], "relearn_epochs": 2},
}
LESSONS = sorted(
    path.relative_to(NOTEBOOKS).with_suffix("").as_posix()
    for path in (NOTEBOOKS / "course" / "source").glob("*/*.py")
)
MAIN = "02_unlearning"
QUALITY = "03_quality_aware_forgetting"
CELL_SECONDS = 240
PROGRESS_BAR = r".*: +\d+%\|"  # what is cached shows none
# What may differ between two runs of a notebook that repeats; never a result.
VARIABLE = {
    "DURATION": r"\b\d+(\.\d+)? ?(s|ms|min|seconds|minutes)\b",
    "PROGRESS": r"\[\d+:\d+(:\d+)?<.*?\]",
    "TIMESTAMP": r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?",
    "ADDRESS": r"\b0x[0-9a-f]{6,}\b",
    "PATH": r"(/tmp|/private/var|/var/folders|[A-Z]:\\\\Users)[^\s'\",)<>]*",
}

each_notebook = pytest.mark.parametrize("stem", STEMS)


def content(notebook):
    """What a notebook says, without what a run or an editor leaves in it."""
    return [
        (cell.cell_type, cell.source, {key: cell.metadata.get(key) for key in ("tags", "nbgrader")})
        for cell in notebook.cells
    ]


@pytest.fixture(scope="session")
def executed(tmp_path_factory):
    """A notebook after one run; all share a cache, so that each model is trained once."""
    cache, notebooks = tmp_path_factory.mktemp("cache"), {}

    def run_once(stem):
        if stem not in notebooks:
            notebooks[stem] = execute(stem, tmp_path_factory.mktemp(stem), cache)
        return notebooks[stem]

    return run_once


def execute(stem, folder, cache):
    """Execute a notebook in the profile `tiny` inside `folder`, without data sets.

    One thread: at this size more of them mostly wait for each other on a busy machine.
    """
    parameters = runs.read_profile(stem, "tiny") | LIGHTER.get(stem, {})
    if stem != "07_your_own_request":  # which writes the weights of its own
        parameters["encoder"] = "light_encoder:build"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CURE_CACHE", str(cache))
        patch.setenv("CURE_DATA_ROOT", str(folder / "none"))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))  # the encoder's
        return papermill.execute_notebook(
            NOTEBOOKS / f"{stem}.ipynb",
            folder / f"{stem}.ipynb",
            parameters | {"out": "."},
            cwd=folder,
            progress_bar=False,
            start_timeout=60,
            execution_timeout=CELL_SECONDS,
            request_save_on_cell_execute=False,
        )


def outputs(notebook):
    """What each cell printed, returned and drew, without what may differ."""
    for cell in notebook.cells:
        found = {"source": cell.source, "stdout": "", "stderr": "", "data": []}
        for output in cell.get("outputs", []):
            if output.output_type == "stream":  # in as many pieces as the timing makes
                found[output.name] += output.text
            elif not re.match(PROGRESS_BAR, output.data.get("text/plain", "")):
                found["data"].append({k: v for k, v in output.data.items() if "widget" not in k})
        text = json.dumps(found)
        for name, pattern in VARIABLE.items():
            text = re.sub(pattern, name, text)
        yield text


@pytest.mark.parametrize("stem", [*STEMS, *LESSONS])
def test_ipynb_and_py_are_in_step(stem):
    stored = nbformat.read(NOTEBOOKS / f"{stem}.ipynb", as_version=4)
    assert content(stored) == content(jupytext.read(NOTEBOOKS / f"{stem}.py")), "run make notebooks"
    assert stored.metadata.kernelspec.name == "python3"
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code), "run make notebooks"


def profiles(stem):
    found = sorted(runs.profile_path(stem, "tiny").parent.glob("*.yaml"))
    assert found
    return found


@each_notebook
def test_profiles_hold_only_declared_parameters_of_the_declared_types(stem):
    source = NOTEBOOKS / f"{stem}.ipynb"
    assert set(papermill.inspect_notebook(source)) == set(runs.declared(source))
    for profile in profiles(stem):
        assert runs.profile_parameters(source, profile.stem) == read_yaml(profile)


@each_notebook
def test_run_all_in_jupyterlab_is_the_profile_quick(stem):
    """What a reader of the README gets by opening a notebook is what the command gives."""
    declared = runs.declared(NOTEBOOKS / f"{stem}.ipynb")
    quick = runs.read_profile(stem, "quick")
    assert {name: declared[name] for name in quick if name not in runs.SET_BY_RUN} == {
        name: value for name, value in quick.items() if name not in runs.SET_BY_RUN
    }


@each_notebook
def test_a_notebook_that_is_open_writes_where_the_command_does(stem):
    code = (NOTEBOOKS / f"{stem}.py").read_text(encoding="utf-8")
    assert runs.declared(NOTEBOOKS / f"{stem}.ipynb")["out"] is None
    assert f'Path(out or RUNS / "{stem}")' in code
    assert runs.RUNS == ROOT / "runs"


@pytest.mark.parametrize(
    "path", sorted(NOTEBOOKS.glob("profiles/**/*.yaml")), ids=lambda path: path.stem
)
def test_papermill_reads_a_profile_as_we_do(path):
    """`papermill -f` follows YAML 1.1, where `1e-3` is text and `no` is false."""
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == read_yaml(path)


@pytest.mark.parametrize("profile", [path.stem for path in profiles("02_unlearning")])
def test_every_profile_makes_a_setting(profile):
    source = runs.find_notebook("02_unlearning")
    given = runs.declared(source) | runs.profile_parameters(source, profile)
    setting = study.setting_of(given)
    assert asdict(setting.recipe).items() >= given["teacher"].items()
    unlearning = dict(given["unlearning"])
    unlearning["amp"] = resolved(unlearning.get("amp", False), given["device"] or "cpu")
    for name, value in unlearning.items():
        made = getattr(setting.config, name)
        assert made == (tuple(value) if isinstance(value, list) else value)
    assert setting.encoder in encoders.REGISTRY
    objectives.build(setting.method)(setting.config)
    assert set(given["bounds_for"]) <= set(given)


@pytest.mark.parametrize("profile", [path.stem for path in profiles(QUALITY)])
def test_every_profile_of_the_quality_study_makes_a_setting(profile):
    given = runs.profile_parameters(runs.find_notebook(QUALITY), profile)
    assert given.pop("dataset") == "synthfaces"  # which the notebook asserts
    assert given.pop("seeds")
    assert conditions(QualitySetting(**given))


@pytest.mark.xdist_group("notebooks")  # one after another, for the sake of the cache
@pytest.mark.parametrize("stem", sorted(STEMS, key=lambda stem: stem != MAIN))
def test_notebook_runs(stem, executed):
    assert executed(stem)


@pytest.mark.slow  # each step's repeat, to the last bit, is a unit test
@pytest.mark.xdist_group("notebooks")
@pytest.mark.parametrize("stem", STEMS)
def test_notebook_repeats(stem, executed, tmp_path):
    """With an empty cache, so that everything is drawn and trained again."""
    (tmp_path / "run").mkdir()
    again = execute(stem, tmp_path / "run", tmp_path / "cache")
    for first, second in zip(outputs(executed(stem)), outputs(again), strict=True):
        assert first == second
