"""The form of the pages, and what they say in words, computed from the CSV files."""

import re
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from cure_study.runner.batch.collect import _run_columns

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
each_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)


@cache
def read(name):
    return pd.read_csv(ROOT / "figures" / f"{name}.csv")


def test_the_readme_is_short_and_has_its_parts_in_order():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("\n") <= 180
    parts = ["# CURE", "![", "## Try it", "```python", "## What we found", "## Next steps"]
    parts += ["## Questions", "## Map", "## Citation", "```bibtex"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


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


def test_tar_on_unseen_people_falls_by_about_a_third():
    mean = read("measures").groupby(["measure", "model"]).value.mean()["TAR@FAR=1e-3, unseen"]
    assert 0.25 < 1 - mean["after"] / mean["before"] < 0.4


def test_the_margin_chooses_dark_skin_too_often_in_every_seed():
    rows = read("quality_rows")
    rows = rows.query("training == 'natural' and order == 'lowest' and fraction == 0.2")
    share = rows.groupby(["setting", "seed"])["chosen.tone.dark"].first().unstack() / 0.2
    margin = share.loc[share.mean(axis=1).idxmax()]
    assert (margin > 1).all()
    page = (ROOT / "docs" / "quality.md").read_text(encoding="utf-8")
    assert f"| {margin.mean():.2f} (" in page


def test_most_images_change_their_target_in_every_epoch():
    assert read("cluster_drift").moved_target.mean() > 0.9
    assert read("cluster_drift").moved_cluster.mean() < 0.1


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
