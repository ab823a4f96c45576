"""A study's file: what it asks for, and what is refused before anything runs."""

import json

import nbformat
import pytest
import yaml
from batch_payload import lay_out, write_study

from cure_study.runner import runs
from cure_study.runner.batch import study as batch


@pytest.fixture(autouse=True)
def payload(tmp_path, monkeypatch):
    lay_out(tmp_path, monkeypatch)


def plan(folder, **fields):
    return batch.read(write_study(folder, **fields)).plan()


def test_every_combination_with_every_seed_seeds_innermost(tmp_path):
    found = plan(tmp_path, grid={"scale": [1, 2], "marks": ["a"]}, parameters={}, seeds=[5, 3])
    given = [(run.given["scale"], run.given["marks"], run.given["seed"]) for run in found]
    assert given == [(1, "a", 5), (1, "a", 3), (2, "a", 5), (2, "a", 3)]
    assert len({run.name for run in found}) == 4


def test_a_list_of_runs_in_the_place_of_a_grid(tmp_path):
    found = plan(
        tmp_path, runs=[{"scale": 3}, {"scale": 4, "marks": "b"}], parameters={}, seeds=[1]
    )
    assert [run.given for run in found] == [
        {"scale": 3, "seed": 1},
        {"scale": 4, "marks": "b", "seed": 1},
    ]
    assert found[0].parameters == {"scale": 3, "seed": 1, "marks": "."}  # with the defaults


def test_a_notebook_of_several_seeds_gets_one_at_a_time(tmp_path):
    notebook = nbformat.read("payload.ipynb", as_version=4)
    notebook.cells[0].source = notebook.cells[0].source.replace("seed = 0", "seeds = [0]")
    nbformat.write(notebook, "payload.ipynb")
    assert [run.given["seeds"] for run in plan(tmp_path, seeds=[7, 8])] == [[7], [8]]
    notebook.cells[0].source = notebook.cells[0].source.replace("seeds = [0]", "")
    nbformat.write(notebook, "payload.ipynb")
    with pytest.raises(ValueError, match="payload declares neither seed nor seeds"):
        plan(tmp_path)


def test_a_name_follows_what_a_run_depends_on_and_nothing_else(tmp_path, monkeypatch):
    def name(**fields):
        return plan(tmp_path, seeds=[1], **fields)[0].name

    first = name(parameters={"scale": 2.0, "marks": "m"})
    assert first == name(parameters={"marks": "m", "scale": 2.0})  # the order is nothing
    assert name(parameters={}) == name(parameters={"scale": 1.0})  # nor is naming a default
    notebook = nbformat.read("payload.ipynb", as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("words"))
    notebook.cells[-1].outputs = [nbformat.v4.new_output("stream", text="shown")]
    nbformat.write(notebook, "payload.ipynb")
    assert first == name(parameters={"scale": 2.0, "marks": "m"})
    names = {first, name(parameters={"scale": 3.0, "marks": "m"})}
    notebook.cells[-1].source += "\nmore = 1"
    nbformat.write(notebook, "payload.ipynb")
    names.add(name(parameters={"scale": 2.0, "marks": "m"}))
    monkeypatch.setattr(runs, "code_version", lambda *modules: "other code")
    names.add(name(parameters={"scale": 2.0, "marks": "m"}))
    assert len(names) == 4


def test_data_and_weights_are_part_of_a_run(tmp_path, monkeypatch):
    monkeypatch.setenv("CURE_DATA_ROOT", str(tmp_path))
    monkeypatch.setattr(runs, "_fingerprint", lambda *options: "content of {} {}".format(*options))
    notebook = nbformat.read("payload.ipynb", as_version=4)
    more = ['dataset = "faces"', 'dataset_options = {"people": 3}', "weights = None"]
    notebook.cells[0].source = "\n".join([notebook.cells[0].source, *more])
    nbformat.write(notebook, "payload.ipynb")
    (one,) = plan(tmp_path, seeds=[1])
    assert one.versions["data"] == 'content of faces {"people": 3}'
    (two,) = plan(tmp_path, seeds=[1], parameters={"dataset_options": {"people": 4}})
    assert one.versions["data"] != two.versions["data"]
    with pytest.raises(FileNotFoundError, match=r"no weights at .*w\.safetensors; set CURE_DATA"):
        plan(tmp_path, parameters={"weights": "w.safetensors"})
    names = set()
    for content in ("a", "b"):
        (tmp_path / "w.safetensors").write_text(content)
        names.add(plan(tmp_path, seeds=[1], parameters={"weights": "w.safetensors"})[0].name)
    assert len(names) == 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"notebooks": ["09_none"]}, r"no 09_none.ipynb in notebooks/; there are .*02_unlearning"),
        ({"notebooks": ["none.ipynb"]}, r"no notebook /.*none\.ipynb"),
        ({"notebooks": []}, "`notebooks` is \\[\\]: List should have at least 1 item"),
        ({"notebooks": ["payload.ipynb"] * 2}, "it names payload.ipynb more than once"),
        ({"profile": "huge"}, "no huge.yaml in profiles/; there are .*tiny"),
        ({"parameters": {"scael": 1}}, "payload: `scael` is unknown; did you mean 'scale'?"),
        ({"grid": {"zzz": [1]}}, "payload: `zzz` is unknown; there are seed, scale"),
        ({"grid": {}}, "`grid` is {}: Dictionary should have at least 1 item"),
        ({"grid": {"scale": []}}, "`grid.scale` is \\[\\]: List should have at least 1 item"),
        ({"grid": {"scale": 3}}, "`grid.scale` is 3: Input should be a valid list"),
        ({"grid": {"scale": [1, 2, 1]}}, "has one run twice: payload with .*scale=1"),
        ({"grid": {"scale": [1]}, "runs": [{"scale": 2}]}, "both `grid` and `runs`"),
        ({"grid": {"marks": ["a"]}}, "marks is both in `parameters` and in `grid`"),
        ({"seeds": [1, 2, 1]}, "it names 1 more than once; name each once"),
        ({"seeds": []}, "`seeds` is \\[\\]: List should have"),
        ({"seeds": ["one"]}, "`seeds.0` is 'one': Input should be a valid integer"),
        ({"parameters": {"seed": 3}}, "`parameters` sets seed, and `seeds` too; keep one"),
        (
            {"parameters": {"out": "here"}},
            "`parameters` sets out, which each run sets; leave it out",
        ),
        ({"memory": "lots"}, "`memory` is 'lots': could not parse"),
        ({"timeout": "soon"}, "`timeout` is 'soon': write a time such as 90 s, 30 min or 2 h"),
        ({"timeout": 30}, "`timeout` is 30: write a time such as"),
        ({"timeout": "0 s"}, "`timeout` is '0 s': write a time such as"),
        ({"cores": 0}, "`cores` is 0: Input should be greater than or equal to 1"),
        ({"sedes": [1]}, "`sedes` is unknown; did you mean 'seeds'?"),
    ],
)
def test_what_is_wrong_is_named_before_anything_runs(tmp_path, fields, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        plan(tmp_path, **fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("notebooks: [", "is not valid YAML"),
        ("- payload", "holds list; expected a mapping"),
        ("seeds: [1]", "`notebooks` is missing"),
        ("notebooks: [a]\nseeds: [1]\nseeds: [2]", 'duplicate key "seeds"'),
        ("notebooks: [a]\ngrid: {scale: [1], scale: [2]}", 'duplicate key "scale"'),
    ],
)
def test_what_is_no_study(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        batch.read(path)
    with pytest.raises(FileNotFoundError, match=r"no study .*none\.yaml"):
        batch.read(tmp_path / "none.yaml")


@pytest.mark.parametrize("values", ["1e-3, 0.001", "1, 1.0", "1.0, 1.00"])
def test_one_number_written_two_ways_is_one_run(tmp_path, values):
    path = tmp_path / "study.yaml"
    path.write_text(f"notebooks: [payload.ipynb]\ngrid: {{scale: [{values}]}}", encoding="utf-8")
    with pytest.raises(ValueError, match="has one run twice"):
        batch.read(path).plan()


@pytest.mark.parametrize("value", ['"1e-3"', "no", "null", "[1]"])
def test_a_value_of_another_type_is_refused_by_the_study_s_file(tmp_path, value):
    path = tmp_path / "study.yaml"
    path.write_text(f"notebooks: [payload.ipynb]\nruns: [{{scale: {value}}}]", encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"study\.yaml: payload: `scale` is .*: Input should be a valid number"
    ):
        batch.read(path).plan()


def test_the_example_is_a_study_that_can_be_run(monkeypatch):
    monkeypatch.setattr(runs, "_fingerprint", lambda *_: "data")
    for path in (runs.NOTEBOOKS / "studies").glob("*.yaml"):
        fields = yaml.safe_load(path.read_text())
        count = len(fields["seeds"]) * len(fields["notebooks"])
        for values in fields.get("grid", {}).values():
            count *= len(values)
        assert len(batch.read(path).plan()) == count


def test_a_record_is_plain(tmp_path):
    (run,) = plan(tmp_path, seeds=[1])
    record = json.loads(json.dumps(run.record()))
    assert record["parameters"]["seed"] == 1
    assert record["version"].startswith(run.name.rpartition("-")[2])


@pytest.mark.parametrize(
    ("text", "seconds"), [("90 s", 90), ("1.5 min", 90), ("2h", 7200), (None, None)]
)
def test_a_timeout_is_a_time_with_its_unit(tmp_path, text, seconds):
    fields = {} if text is None else {"timeout": text}
    assert batch.read(write_study(tmp_path, **fields)).timeout == seconds


def test_the_studies_of_the_project_are_valid():
    """Their fields are right; a plan would also draw their faces."""
    paths = sorted((runs.NOTEBOOKS / "studies").glob("*.yaml"))
    assert len(paths) >= 2
    for path in paths:
        study = batch.read(path)
        assert len(study.conditions()) * len(study.seeds) >= 20
