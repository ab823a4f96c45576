"""The tables of the pages are those of the CSV files, and the pages keep their form."""

import re
import runpy
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from cure_core.metrics.intervals import measure_range
from cure_study.experiments.comparison.methods import LABELS
from cure_study.runner.batch.collect import _run_columns

ROOT = Path(__file__).parents[1]
CSV_FILES = sorted((ROOT / "figures").glob("*.csv"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
INTERVAL = re.compile(r"(-?\d+\.\d+)\*{0,2}\s\[(-?\d+\.\d+),\s(-?\d+\.\d+)\]")
each_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)


@cache
def read(name):
    return pd.read_csv(ROOT / "figures" / f"{name}.csv")


@cache
def tables():
    return runpy.run_path(str(ROOT / "docs" / "tables.py"))


def table(name):
    return tables()["TABLES"][name]()


def case(dataset, request="random_people"):
    rows = read("comparison")
    return rows[(rows.dataset == dataset) & (rows.request == request)]


def test_the_tables_of_the_pages_are_those_of_the_csv_files():
    """Otherwise run `make docs`. Every table that can be written stands on one page."""
    texts = [path.read_text(encoding="utf-8") for path in tables()["PAGES"]]
    named = [match[2] for text in texts for match in tables()["MARKED"].finditer(text)]
    assert sorted(named) == sorted(tables()["TABLES"])
    assert [tables()["with_tables"](text) for text in texts] == texts


# The form of the pages


def test_the_readme_is_short_and_has_its_parts_in_order():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("\n") <= 180
    parts = ["# CURE", "![", "## Try it", "```python", "## What we found", "## Next steps"]
    parts += ["## Questions", "## Map", "## Citation", "```bibtex"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_no_cell_of_the_claims_has_more_than_twenty_words():
    words = [len(str(cell).split()) for cell in table("claims").to_numpy().ravel()]
    assert max(words) <= 20


@pytest.mark.parametrize("path", PAGES[1:], ids=lambda path: path.name)
def test_a_page_begins_with_its_answer(path):
    if path.name == "index.md":
        return
    title, blank, answer = path.read_text(encoding="utf-8").split("\n", 3)[:3]
    assert title.startswith("# ")
    assert blank == ""
    assert answer.startswith("**In short.**")


@each_page
def test_every_link_of_a_page_leads_to_a_file(path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target


def test_the_readmes_example_runs(tmp_path, monkeypatch, capsys):
    """With less training; what it prints is what the README promises."""
    monkeypatch.setenv("CURE_CACHE", str(tmp_path))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    assert 10 <= len([line for line in code.splitlines() if line.strip()]) <= 16
    quick = re.sub(r"\bpeople=\d+", "people=12", re.sub(r"epochs=\d+", "epochs=1", code))
    exec(compile(quick, "README.md", "exec"), {})
    assert re.findall(r"(?m)^\w+", capsys.readouterr().out) == ["before", "after"]


# Numbers, computed here in another way


def student_t(values):
    """Mean and Student's 95 % interval, two decimals."""
    values = np.asarray(values)
    reach = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean(), values.mean() - reach, values.mean() + reach


@pytest.mark.parametrize("name", ["gaps-cure", "gaps-ours", "gaps-recall"])
def test_differences_are_paired_by_seed_and_bold_if_their_interval_excludes_0(name):
    methods = {label: method for method, label in LABELS.items()}
    score = "membership_recall" if name == "gaps-recall" else "ues"
    shown = table(name)
    requests = {"random people": "random_people", "hardest people": "hardest_people"}
    requests["random images"] = "random_samples"
    datasets = {"SynthFaces": "synthfaces", "LFW": "lfw", "SynthFaces, redrawn": "redrawn"}
    for line in shown.to_dict("records"):
        rows = case(datasets[line.pop("data")], requests[line.pop("request")])
        for title, text in line.items():
            one, other = (methods[part] for part in title.split(" minus "))
            by_seed = [rows[rows.method == m].set_index("seed")[score] for m in (one, other)]
            mean, low, high = student_t((by_seed[0] - by_seed[1]).dropna())
            value, *bounds = map(float, INTERVAL.search(text).groups())
            assert value == pytest.approx(mean, abs=0.006)
            assert bounds == pytest.approx([low, high], abs=0.006)
            assert text.startswith("**") == (low > 0 or high < 0)


def test_the_statements_about_significance_are_those_of_the_tables():
    """What the pages of claims and of the comparison say in words."""
    cure, ours, recall = (table(f"gaps-{name}") for name in ("cure", "ours", "recall"))
    below = cure.set_index(["data", "request"])["CURE minus random relabelling"]
    undecided = ("LFW", "random people")
    assert all(text.startswith("**-") for place, text in below.items() if place != undecided)
    assert not below[undecided].startswith("**")
    assert cure["CURE+ minus CURE"].str.match(r"\*\*\d").all()
    scatter = ours.set_index("data")["CURE-scatter minus random relabelling"]
    assert scatter.drop("LFW").str.match(r"\*\*\d").all()
    people = ours[(ours.data == "LFW") & (ours.request != "random images")]
    assert not people.iloc[:, 2:].apply(lambda column: column.str.startswith("**")).any(axis=None)
    lower = recall.set_index(["data", "request"])["CURE minus dispersion"]
    decided = {place for place, text in lower.items() if text.startswith("**")}
    assert decided == {
        ("SynthFaces", "hardest people"),
        ("SynthFaces, redrawn", "random people"),
        ("SynthFaces, redrawn", "hardest people"),
    }


def test_cure_scatter_scores_the_same_without_its_term():
    mean = case("synthfaces").groupby("method").ues.mean()
    assert mean["cure_scatter"] == pytest.approx(mean["cure_scatter_no_scatter"], abs=0.02)


def test_every_erasing_method_marks_the_forgotten_on_lfw_and_retraining_does_not():
    rows = read("attacks").query("dataset == 'lfw'").groupby("method").told_apart_auc.mean()
    erasing = rows.drop(["teacher", "oracle"])
    assert erasing.min() > 0.8
    assert rows[["teacher", "oracle"]].between(0.4, 0.6).all()


def test_tar_on_unseen_people_falls_by_about_a_quarter():
    mean = read("measures").groupby(["measure", "model"]).value.mean()["TAR@FAR=1e-3, unseen"]
    assert 0.15 < 1 - mean["after"] / mean["before"] < 0.35


def test_the_margin_chooses_dark_skin_too_often_in_every_seed():
    rows = read("quality_rows")
    rows = rows.query("training == 'natural' and order == 'lowest' and fraction == 0.2")
    share = rows.groupby(["setting", "seed"])["chosen.tone.dark"].first().unstack() / 0.2
    margin = share.loc[share.mean(axis=1).idxmax()]
    assert (margin > 1).all()
    assert table("quality-fairness").iloc[1]["dark skin"].startswith(f"{margin.mean():.2f}")


def test_most_images_change_their_target_in_every_epoch():
    assert read("cluster_drift").moved_target.mean() > 0.9
    assert read("cluster_drift").moved_cluster.mean() < 0.1


def test_the_readme_quotes_the_ues_of_the_committed_run():
    """UES by hand from each seed's accuracies."""
    wide = read("measures").pivot(index="seed", columns=["model", "measure"], values="value")
    before, after = wide["before"] - 0.5, wide["after"] - 0.5
    ues = 1 - after["accuracy, forgotten"] / before["accuracy, forgotten"]
    for name in ("accuracy, retained", "accuracy, unseen"):
        ues *= 1 - (after[name] - before[name]).abs() / before[name]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    line = re.search(r"(?m)^UES \(CURE\) .*", text)[0]
    assert f"{ues.mean():.3f} [" in line


def test_the_page_of_batches_names_the_columns_of_a_collected_table():
    record = {
        "parameters": {"seed": 0}, "version": "v", "notebook": "n", "profile": "p", "seconds": 1.0,
        "versions": {"code": "c"},
    }  # fmt: skip
    columns = set(_run_columns(Path("run"), record)) | {"group"}
    text = (ROOT / "docs" / "batches.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)(?:\*)?`", text))
    shown = {"param_" if c.startswith("param_") else "version_" if c.startswith("version_") else c
             for c in columns}  # fmt: skip
    assert shown <= named | {"param_", "version_"}


# Ranges


def out_of_range(rows):
    """Values and bounds of a table that a measure of that name cannot take, or in wrong order."""
    wrong = []
    for name in rows.select_dtypes("number"):
        low, high = measure_range(name)
        wrong += [(name, value) for value in rows[name] if value < low or value > high]
    for line in rows.to_dict("records") if {"low", "high"} <= set(rows) else ():
        low, high = measure_range(str(line.get("metric", "")))
        bounds = [x for x in (low, line["low"], line["value"], line["high"], high) if x == x]
        wrong += [line] * (bounds != sorted(bounds))
    return wrong


@pytest.mark.parametrize("path", CSV_FILES, ids=lambda path: path.name)
def test_no_committed_table_leaves_a_measures_range(path):
    rows = read(path.stem).copy()
    if path.stem == "map_moves":  # a cosine distance, from 0 to 2
        assert rows.pop("change").between(0, 2).all()
    assert out_of_range(rows) == []


def test_a_value_out_of_range_is_found():
    line = {"metric": "recall", "value": 0.01, "low": -0.02, "high": 0.04}
    assert out_of_range(pd.DataFrame([line])) == [line]
    assert out_of_range(pd.DataFrame([{**line, "metric": "spearman"}])) == []
    assert out_of_range(pd.DataFrame({"ues": [0.5, 1.01]})) == [("ues", 1.01)]


@each_page
def test_no_interval_on_a_page_leaves_its_range(path):
    """Shares and their differences lie within [-1, 1]; points have one decimal."""
    for found in INTERVAL.findall(path.read_text(encoding="utf-8")):
        value, low, high = map(float, found)
        limit = 100 if len(found[0].split(".")[1]) == 1 else 1
        assert -limit <= low <= value <= high <= limit, found
