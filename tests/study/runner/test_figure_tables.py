"""A run's tables, copied to where the committed figures are drawn from."""

import json

import pytest
import yaml

from cure_study.figures.index import INDEX
from cure_study.runner.figure_tables import adopt


def run_folder(folder, notebook="02_unlearning", dataset="synthfaces"):
    """A run with every table of the index."""
    (folder / "figures").mkdir(parents=True)
    for entry in yaml.safe_load(INDEX.read_text(encoding="utf-8")).values():
        if entry["data"]:
            (folder / entry["data"]).write_text(f"table\n{entry['data']}\n")
    record = {"notebook": notebook, "profile": "quick", "parameters": {"dataset": dataset}}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


@pytest.mark.parametrize(
    ("notebook", "tables"),
    [
        ("02_unlearning", "score_distributions measures roc loss_terms"),
        ("sweep", "sensitivity"),
        ("06_attacks", "membership_attacks hidden recovery collateral"),
        (
            "03_quality_aware_forgetting",
            "quality_scores quality_discard quality_accuracy quality_deciles",
        ),
        ("04_embedding_tsne", "map_joint map_placed map_moves map_clusters"),
    ],
)
def test_a_run_brings_the_tables_of_its_figures(tmp_path, notebook, tables):
    run, kept = run_folder(tmp_path / "run", notebook), tmp_path / "kept"
    adopt(run, kept)
    assert {path.stem for path in kept.iterdir()} == set(tables.split())
    assert all(
        path.read_bytes() == (run / "figures" / path.name).read_bytes() for path in kept.iterdir()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "lfw"}, "'lfw'.*only figures of SynthFaces"),
        ({"dataset": None}, "None.*only figures of SynthFaces"),
        ({"notebook": "another"}, "'another', which makes no figure"),
    ],
)
def test_a_run_without_figures_to_keep_is_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        adopt(run_folder(tmp_path / "run", **change), tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_run_that_lacks_a_table_changes_nothing(tmp_path):
    run = run_folder(tmp_path / "run")
    (run / "figures" / "roc.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"roc\.csv"):
        adopt(run, tmp_path / "kept")
    assert not list((tmp_path / "kept").glob("*"))
