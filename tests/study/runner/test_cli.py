import json
import os

import jupytext
import nbformat
import pandas as pd
import papermill
import pytest
import yaml

from cure_study.figures import index as figure_index
from cure_study.run_record import write_record
from cure_study.runner import cli
from cure_study.runner import runs as run_definitions

NOTEBOOK = """
# %% tags=["parameters"]
out = "."
word = "unset"
progress = True

# %%
import os
from pathlib import Path

print("the first cell ran")

# %%
assert "STUDY_FAILS" not in os.environ, "it should fail"
Path(out, "table.csv").write_text(f"measure,after\\nword,{word}\\nagain,{os.environ['AGAIN']}\\n")
"""


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    """A folder with one throwaway notebook and one profile, in the place of the study's."""
    folder = tmp_path / "notebooks"
    (folder / "profiles").mkdir(parents=True)
    notebook = jupytext.reads(NOTEBOOK, fmt="py:percent")
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    nbformat.write(notebook, folder / "throwaway.ipynb")
    (folder / "profiles" / "tiny.yaml").write_text(yaml.safe_dump({"word": "hello"}))
    monkeypatch.setattr(run_definitions, "NOTEBOOKS", folder)
    monkeypatch.delenv("STUDY_FAILS", raising=False)
    monkeypatch.setenv("AGAIN", "0")
    return folder


def study(runs, *more, notebook="throwaway", profile="tiny"):
    named = ["--notebook", notebook, "--profile", profile, "--runs", str(runs)]
    return cli.main(["study", *named, *more])


def names(runs):
    """What lies in the folder of runs, hidden things too, without the digests."""
    return sorted("-".join(n for n in p.name.split("-") if len(n) != 8) for p in folders(runs))


def folders(runs):
    return [path for path in runs.iterdir() if path.name != ".locks"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"profile": "huge"}, "no huge.yaml in profiles/; there are tiny"),
        ({"notebook": "09_none"}, "no 09_none.ipynb in notebooks/; there are throwaway"),
    ],
)
def test_an_unknown_name_is_reported_before_any_work(
    notebooks, tmp_path, capsys, monkeypatch, wrong, message
):
    monkeypatch.setattr(papermill, "execute_notebook", lambda *_, **__: pytest.fail("it began"))
    assert study(tmp_path / "runs", **wrong) == 1
    assert capsys.readouterr().err == f"cure: {message}\n"
    assert not (tmp_path / "runs").exists()


def test_the_names_are_those_of_the_project(capsys):
    assert study("runs", notebook="02_unlearning", profile="none") == 1
    assert "tiny" in capsys.readouterr().err


def test_without_a_command_the_usage_is_shown(capsys):
    with pytest.raises(SystemExit) as error:
        cli.main([])
    assert error.value.code == 2
    assert "study" in capsys.readouterr().err


def test_a_parameter_can_be_set_and_makes_another_run(notebooks, tmp_path):
    runs = tmp_path / "runs"
    assert study(runs) == 0
    assert study(runs, "--set", "word=goodbye") == 0
    assert names(runs) == ["throwaway-tiny", "throwaway-tiny"]
    records = [json.loads((folder / "run.json").read_text()) for folder in folders(runs)]
    words = [record["parameters"]["word"] for record in records]
    assert sorted(words) == ["goodbye", "hello"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("wrod=hello", "--set: throwaway: `wrod` is unknown; did you mean 'word'?"),
        ("word", "--set word; write it as NAME=VALUE"),
        ("word=[", "--set word=[ is not valid YAML"),
    ],
)
def test_a_parameter_that_cannot_be_set_is_reported_before_any_work(
    notebooks, tmp_path, capsys, change, message
):
    assert study(tmp_path / "runs", "--set", change) == 1
    assert f"cure: {message}" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_run_a_failure_and_a_run_again(notebooks, tmp_path, monkeypatch, capfd):
    """A run folder is whole or not there: the earlier one gives way to a success alone."""
    runs = tmp_path / "runs"

    assert study(runs) == 0
    assert names(runs) == ["throwaway-tiny"]
    (folder,) = folders(runs)
    assert folder.stat().st_mode & 0o777 == 0o777 & ~umask()
    assert sorted(p.name for p in folder.iterdir()) == [
        "run.json", "table.csv", "throwaway.ipynb",
    ]  # fmt: skip
    record = json.loads((folder / "run.json").read_text())
    assert record["notebook"] == "throwaway"
    assert record["profile"] == "tiny"
    assert record["parameters"] == {"word": "hello"}
    assert record["version"].startswith(folder.name.rpartition("-")[2])
    printed, warned = capfd.readouterr()
    assert "encryption" not in warned  # the kernel's, of a connection that others can listen to
    assert "the first cell ran" in printed  # while it runs
    assert "hello" in printed
    assert f"{folder}\n" in printed
    assert printed.endswith(f"next: jupyter lab {folder / 'throwaway.ipynb'}\n")

    monkeypatch.setenv("STUDY_FAILS", "1")
    assert study(runs) == 1
    message = capfd.readouterr().err
    assert "it should fail" in message
    assert names(runs) == ["throwaway-tiny", "throwaway-tiny-failed"]
    assert "again,0" in (folder / "table.csv").read_text()
    failed = runs / f"{folder.name}-failed"
    cells = nbformat.read(failed / "throwaway.ipynb", as_version=4).cells
    shown = [output.get("text", "") for cell in cells for output in cell.get("outputs", [])]
    assert any("the first cell ran" in text for text in shown)
    assert not (failed / "table.csv").exists()
    assert not (failed / "run.json").exists()
    why = json.loads((failed / "failure.json").read_text())
    assert why["error"] == "AssertionError: it should fail"
    assert f"cell {why['cell']} failed" in message  # papermill's own count
    assert why["version"] == record["version"]

    monkeypatch.delenv("STUDY_FAILS")
    monkeypatch.setenv("AGAIN", "1")
    assert study(runs) == 0
    assert "again,1" in (folder / "table.csv").read_text()
    assert json.loads((folder / "run.json").read_text())["version"] == record["version"]


def umask():
    current = os.umask(0)
    os.umask(current)
    return current


def pretend(monkeypatch, do):
    """In the place of papermill: writes what a notebook would, at once."""

    def execute(source, target, parameters, **options):
        target.write_text("executed")
        do(options["cwd"], parameters)

    monkeypatch.setattr(papermill, "execute_notebook", execute)


def table(folder, _parameters):
    (folder / "table.csv").write_text("measure,after\nues,n/a\n")


def test_an_interruption_leaves_no_half_made_folder(notebooks, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    pretend(monkeypatch, interrupt)
    assert study(tmp_path / "runs") == 130
    assert names(tmp_path / "runs") == ["throwaway-tiny-failed"]


def test_the_folder_follows_what_made_it(notebooks, tmp_path, monkeypatch, capsys):
    """Another parameter makes another folder; the same again does not."""
    pretend(monkeypatch, table)
    runs, profile = tmp_path / "runs", notebooks / "profiles" / "tiny.yaml"
    study(runs)
    study(runs)
    assert len(folders(runs)) == 1
    profile.write_text("word: other\n")
    study(runs)
    assert len(folders(runs)) == 2
    assert "n/a" in capsys.readouterr().out  # shown as it was written


def test_a_notebook_learns_its_folder_and_shows_no_bars(notebooks, tmp_path, monkeypatch):
    output = {}
    pretend(monkeypatch, lambda folder, given: (table(folder, given), output.update(given)))
    study(tmp_path / "runs")
    assert output.pop("out").startswith(str(tmp_path / "runs"))
    assert output == {"word": "hello", "progress": False}


def test_a_notebook_without_a_table_is_a_run_too(notebooks, tmp_path, monkeypatch, capsys):
    pretend(monkeypatch, lambda *_: None)
    assert study(tmp_path / "runs") == 0
    assert names(tmp_path / "runs") == ["throwaway-tiny"]


def test_figures_are_redrawn_from_their_tables(tmp_path, monkeypatch, capsys):
    """`cure figures` draws the figures of the index that have a table, and prints each path."""
    folder = tmp_path / "figures"
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    entry = yaml.safe_load(figure_index.INDEX.read_text())["measures"]
    monkeypatch.setattr(figure_index, "INDEX", tmp_path / "index.yaml")
    figure_index.INDEX.write_text(yaml.safe_dump({"measures": entry}))
    data = pd.DataFrame(
        {"measure": "rank-1", "model": ["before", "after", "oracle"], "seed": 0, "value": 0.5}
    )
    folder.mkdir()
    data.to_csv(folder / "measures.csv", index=False)
    assert cli.main(["figures"]) == 0
    assert capsys.readouterr().out == "figures/measures.png\n"
    assert all((tmp_path / name).is_file() for name in [*entry["files"], entry["data"]])


def test_figures_of_real_faces_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    write_record(run, {"profile": "lfw", "parameters": {"dataset": "lfw"}})
    assert cli.main(["figures", "--from", str(run)]) == 1
    assert "only figures of SynthFaces" in capsys.readouterr().err
    assert not (tmp_path / "figures").exists()


def test_a_notebook_with_profiles_of_its_own_uses_those_alone(notebooks):
    shared = notebooks / "profiles"
    assert run_definitions.profile_path("study", "short") == shared / "short.yaml"
    (shared / "study").mkdir()
    assert run_definitions.profile_path("study", "short") == shared / "study" / "short.yaml"
    assert run_definitions.profile_path("other", "short") == shared / "short.yaml"


def test_the_experiment_about_quality_runs_a_profile_into_its_rows(tmp_path, monkeypatch, capsys):
    from cure_study.experiments.quality import study as quality_study

    called = {}

    def run(setting, seeds, path):
        called.update(setting=setting, seeds=seeds, path=path)
        return pd.DataFrame({"seconds": [90.0, 30.0]})

    monkeypatch.setattr(quality_study, "run", run)
    rows = tmp_path / "rows.csv"
    assert cli.main(["quality", "--profile", "tiny", "--rows", str(rows)]) == 0
    assert called["path"] == rows
    assert called["seeds"] == [0]
    assert called["setting"].fractions == (0.2,)
    assert called["setting"].dataset_options["people"] == 10
    assert capsys.readouterr().out == f"2 runs, 2.0 minutes\n{rows}\n"


def test_an_unknown_profile_of_the_experiment_is_reported(capsys):
    assert cli.main(["quality", "--profile", "huge"]) == 1
    assert "no huge.yaml in 03_quality_aware_forgetting/; there are quick, tiny" in (
        capsys.readouterr().err
    )


def test_the_whole_comparison_is_one_command_and_missing_data_is_reported_first(
    monkeypatch, capsys
):
    done, loaded = [], []
    monkeypatch.setattr(
        "cure_study.experiments.comparison.runs.compare",
        lambda plan, name, *_, **__: done.append(name),
    )
    monkeypatch.setattr("cure_study.data.manifests.load", lambda name, **_: loaded.append(name))
    assert cli.main(["compare", "all", "--stages", "attacks"]) == 0
    assert done == ["synthfaces", "lfw", "redrawn"]
    assert set(loaded) == {"lfw", "synthfaces"}  # redrawn is of the latter

    done.clear()
    assert cli.main(["compare", "all", "--methods", "cure"]) == 1
    assert "--methods with all" in capsys.readouterr().err

    def missing(name, **_):
        raise FileNotFoundError(f"no {name} here")

    monkeypatch.setattr("cure_study.data.manifests.load", missing)
    assert cli.main(["compare", "all"]) == 1
    assert "no lfw here" in capsys.readouterr().err
    assert done == []
