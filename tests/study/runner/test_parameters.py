"""Values are checked against a notebook's parameters before anything runs."""

import dataclasses
import json

import pytest

from cure_core.config import CureConfig
from cure_core.training.arcface import Recipe
from cure_study.code_version import code_version
from cure_study.runner import parameters, runs
from cure_study.runner.parameters import bounds_apply, check_content, check_types, declared

CELL = """
count = 3
share = 0.5
word = "x"
flag = True
some = [1, 2]
shares: list = [0.1]
mixed = [1, "a"]
settings = {}
anything = None
made = list(range(3))
one = two = 1
undefined: int
"""


def write_notebook(path, source):
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source}
    path.write_text(json.dumps({"cells": [cell]}), encoding="utf-8")
    return path


@pytest.fixture
def notebook(tmp_path):
    return write_notebook(tmp_path / "notebook.ipynb", CELL)


def test_the_cell_is_read_without_running_it(notebook):
    assert declared(notebook) == {
        "count": 3, "share": 0.5, "word": "x", "flag": True, "some": [1, 2], "shares": [0.1],
        "mixed": [1, "a"], "settings": {}, "anything": None, "made": "list(range(3))",
        "one": 1, "two": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        *("", "no", "[]", '{"cells": 3}', '{"cells": [{}]}'),
        pytest.param("[" * 100_000, id="deep"),
        '{"cells": [{"cell_type": "code", "metadata": {}}]}',
        '{"cells": [{"cell_type": "code", "metadata": [], "source": ""}]}',
        '{"cells": [{"cell_type": "code", "metadata": {"tags": 3}, "source": ""}]}',
        '{"cells": [{"cell_type": "code", "metadata": {}, "source": [3]}]}',
    ],
)
def test_a_file_that_is_not_a_notebook_is_named(tmp_path, text):
    path = tmp_path / "bad.ipynb"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"bad\.ipynb is not a notebook"):
        declared(path)


@pytest.mark.parametrize("source", ["a = (", "a = 1\0"])
def test_a_parameters_cell_that_is_not_python_is_named(tmp_path, source):
    path = write_notebook(tmp_path / "bad.ipynb", source)
    with pytest.raises(ValueError, match=r"bad\.ipynb: its parameters cell is not Python"):
        declared(path)


def test_a_default_that_python_itself_would_refuse_is_its_text(tmp_path):
    path = write_notebook(tmp_path / "notebook.ipynb", "a = {[1]: 2}")
    assert declared(path) == {"a": "{[1]: 2}"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", 5), ("share", 0.1), ("word", "1"), ("flag", False), ("some", []),
        ("some", [3]), ("shares", [0.5]), ("mixed", ["b", 2]), ("settings", {"a": 1}),
        ("anything", None), ("anything", "cuda"), ("anything", True), ("made", "x"),
    ],
)  # fmt: skip
def test_a_value_of_the_default_s_type_is_kept(notebook, name, value):
    assert check_types("--set", {name: value}, declared(notebook)) == {name: value}


def test_a_whole_number_serves_as_a_float_so_that_1_and_1_0_are_one_run(notebook):
    (value,) = check_types("--set", {"share": 1}, declared(notebook)).values()
    assert (value, type(value)) == (1.0, float)
    (values,) = check_types("--set", {"shares": [1, 0.5]}, declared(notebook)).values()
    assert [type(value) for value in values] == [float, float]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("count", "1e3", "`count` is '1e3': Input should be a valid integer"),
        ("count", 2.0, "`count` is 2.0: Input should be a valid integer"),
        ("count", 2.5, "`count` is 2.5: Input should be a valid integer"),
        ("count", True, "`count` is True: Input should be a valid integer"),
        ("count", None, "`count` is None: Input should be a valid integer"),
        ("share", "1e-3", "`share` is '1e-3': Input should be a valid number"),
        ("share", False, "`share` is False: Input should be a valid number"),
        ("word", 1, "`word` is 1: Input should be a valid string"),
        ("word", True, "`word` is True: Input should be a valid string"),
        ("word", ["a"], "`word` is ['a']: Input should be a valid string"),
        ("flag", "no", "`flag` is 'no': Input should be a valid boolean"),
        ("flag", 0, "`flag` is 0: Input should be a valid boolean"),
        ("some", 3, "`some` is 3: Input should be a valid list"),
        ("some", [1, "b"], "`some.1` is 'b': Input should be a valid integer"),
        ("some", [1.5], "`some.0` is 1.5: Input should be a valid integer"),
        ("shares", ["0.1"], "`shares.0` is '0.1': Input should be a valid number"),
        ("settings", None, "`settings` is None: Input should be a valid dictionary"),
        ("settings", [1], "`settings` is [1]: Input should be a valid dictionary"),
        ("cuont", 1, "`cuont` is unknown; did you mean 'count'? there are count, share, word, "
                     "flag, some, shares, mixed, settings, anything, made, one, two"),
        ("zzz", 1, "`zzz` is unknown; there are count, share, word, flag, some, shares, mixed, "
                   "settings, anything, made, one, two"),
    ],
)  # fmt: skip
def test_any_other_value_is_refused_with_its_place_and_type(notebook, name, value, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        check_types("study.yaml", {name: value}, declared(notebook))
    assert str(error.value) == f"study.yaml: {message}"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "curee"}, "method is 'curee'; did you mean 'cure'?"),
        ({"methods": ["cure", "zzz"]}, "method is 'zzz'; there are cure, cure_plus"),
        ({"encoder": "smal"}, "encoder is 'smal'; did you mean 'small'?"),
        ({"seeds": []}, "`seeds` is []: List should have at least 1 item"),
        ({"forget_people": 0}, "`forget_people` is 0: Input should be greater than 0"),
        ({"teacher": {"epochz": 3}}, "teacher: `epochz` is unknown; did you mean 'epochs'?"),
        ({"teacher": {"seed": 3}}, "teacher: `seed` is unknown; there are epochs"),
        ({"teacher": {"learning_rate": "1e-3"}}, "teacher: `learning_rate` is '1e-3': Input"),
        ({"teacher": {"head": "hat"}}, "teacher: head='hat'; there are random, centroids"),
        ({"unlearning": {"tua": 1}}, "unlearning: `tua` is unknown; did you mean 'tau'?"),
        ({"unlearning": {"tau": -1}}, "unlearning: tau=-1"),
        ({"unlearning": {"batch_size": 3}}, "unlearning: "),
        ({"split": {"min_image": 3}}, "split: `min_image` is unknown; did you mean 'min_images'?"),
        ({"split": {"heldout": "a"}}, "split: `heldout` is 'a': Input should be a valid number"),
        (
            {"method": "cure_plus", "unlearning": {"weights": {"cosin": 1}}},
            "unlearning: weights: `cosin` is unknown; did you mean 'cosine'?",
        ),
        ({"method": "supervised_scrub"}, "method supervised_scrub needs identity labels"),
        ({"split": {"min_images": 1}}, "split: `min_images` is 1: Input should be greater"),
        ({"split": {"min_images": None}}, "split: `min_images` is None: Input should be a valid"),
        ({"teacher": {16: None}}, "teacher: `16` is 16: Keys should be strings"),
        ({"teacher": {"epochs": 2.5}}, "teacher: `epochs` is 2.5: Input should be a valid integer"),
        ({"teacher": {"epochs": None}}, "teacher: `epochs` is None: Input should"),
        ({"unlearning": {"epochs": True}}, "unlearning: `epochs` is True: Input"),
        ({"seeds": [-1]}, "`seeds.0` is -1: Input should be greater than or equal to 0"),
        ({"seeds": [1, 2, 1]}, "`seeds` is [1, 2, 1]: it names 1 more than once; name each once"),
        ({"weights": 3}, "`weights` is 3: Input should be a valid string"),
        ({"device": "gpu"}, "device is 'gpu'"),
    ],
)  # fmt: skip
def test_what_the_study_s_steps_would_refuse_is_refused_before_them(given, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        check_content(given, "--set")
    assert str(error.value).startswith(f"--set: {message}")


@pytest.mark.parametrize(
    "given",
    [
        {"encoder": "my_module:my_function"},
        {"unlearning": {"amp": "bfloat16", "clusters": [3, 4], "weights": {}}},
        {"method": "cure", "split": {"max_images": None}, "weights": None, "device": None},
        {"device": "cuda:1", "weights": "models/x.safetensors"},
        {"scale": 3, "seed": 1},  # a user.s notebook
        {},
    ],
)
def test_what_the_study_s_steps_accept_is_accepted(given):
    check_content(given, "--set")


@pytest.mark.parametrize("kind", [Recipe, CureConfig])
def test_every_field_but_the_seed_may_be_set_to_its_default(kind):
    settings = {
        f.name: getattr(kind(), f.name) for f in dataclasses.fields(kind) if f.name != "seed"
    }
    assert parameters.build("--set: settings", kind, settings) == kind()


def test_bounds_apply_to_what_they_were_measured_with_alone():
    bounds = {"dataset": "synthfaces", "dataset_options": {}, "method": "cure_plus"}
    assert bounds_apply(bounds, bounds | {"seeds": [9]})
    assert not bounds_apply(bounds, bounds | {"dataset": "folder"})
    assert not bounds_apply(bounds, bounds | {"method": "cure"})
    assert bounds_apply({}, bounds)


def test_a_default_of_none_allows_anything():
    assert check_types("x", {"x": {"a": [1]}}, {"x": None}) == {"x": {"a": [1]}}


def test_the_code_version_of_a_notebook_is_that_of_what_it_imports(tmp_path):
    def version(code):
        return runs.source_versions(write_notebook(tmp_path / "notebook.ipynb", code))["code"]

    code = "%matplotlib inline\nfrom cure_core import losses\nimport pandas"
    assert version(code) == code_version("cure_core.losses")
    assert version("%%time\nfrom cure_core import (\n    losses,\n)") == version(code)
    assert version("from cure_core import \\\n    losses") == version(code)
    assert version('print("from cure_core import the losses")')  # no code, and no error
    assert version("x = 1") == code_version()


def test_the_study_s_rules_are_for_its_own_notebooks(tmp_path):
    """Elsewhere `method` and `seeds` may be anything."""
    source = 'method = "ridge"\nseeds = 5\nweights = 0.5'
    path = write_notebook(tmp_path / "notebook.ipynb", source)
    assert runs.with_changes(path, {}, {"method": "pca"}, "--set") == {"method": "pca"}
