"""The tables of the pages, and the numbers that their text quotes, are those of the CSV files."""

import re
import runpy
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from cure_core.metrics.intervals import SHARE, measure_range, seed_interval
from cure_study.figures.frontier import on_common_seeds

ROOT = Path(__file__).parents[1]
CSV_FILES = sorted((ROOT / "figures").glob("*.csv"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
INTERVAL = re.compile(r"(-?\d+\.\d+)\*{0,2} \[(-?\d+\.\d+), (-?\d+\.\d+)\]")


@cache
def read(name):
    return pd.read_csv(ROOT / "figures" / f"{name}.csv")


def section(page, start="", end=None):
    """The text of a page from one phrase to another, on one line and without bold."""
    text = (ROOT / page).read_text(encoding="utf-8")
    text = text[text.index(start) :]
    text = text[: text.index(end)] if end else text
    return re.sub(r"\s+", " ", text.replace("**", ""))


def test_the_tables_of_the_pages_are_those_of_the_csv_files():
    """Otherwise run `make docs`. Every table that can be written stands on one page."""
    tables = runpy.run_path(str(ROOT / "docs" / "tables.py"))
    texts = [path.read_text(encoding="utf-8") for path in tables["PAGES"]]
    named = [match[2] for text in texts for match in tables["MARKED"].finditer(text)]
    assert sorted(named) == sorted(tables["TABLES"])
    assert [tables["with_tables"](text) for text in texts] == texts


# Numbers in the text


def differences(wide):
    """Texts of the mean difference of any two methods, with Student's interval over seeds."""
    values = wide.dropna(axis=1).to_numpy()
    less = values[:, :, None] - values[:, None]
    mean, error = less.mean(0), less.std(0, ddof=1) / np.sqrt(len(less))
    reach = t.ppf(0.975, len(less) - 1) * error
    bounds = np.stack([mean, (mean - reach).clip(-1), (mean + reach).clip(max=1)], -1)
    return {"{:.3f} [{:.3f}, {:.3f}]".format(*found) for found in bounds.reshape(-1, 3)}


@cache
def of_the_comparison():
    """Intervals of each method's scores and of paired differences, by all seeds and by three."""
    rows, texts = read("comparison"), set()
    rows = rows.assign(gap=(rows.membership_recall - rows.membership_recall_oracle).abs())
    for _, case in rows.groupby(["dataset", "request"]):
        for score in ("ues", "ues_fresh", "membership_recall", "gap"):
            wide = case.pivot(index="seed", columns="method", values=score)
            for seeds in (wide, wide.loc[[0, 1, 2]]):
                complete = seeds.dropna(axis=1)
                texts |= {seed_interval(values, score).text() for _, values in complete.items()}
                texts |= differences(seeds)
    return texts


def of_the_attacks():
    rows = pd.concat([read("hidden"), read("recovery")])
    groups = rows.groupby(["attack", "metric", "at", "model"], dropna=False)
    return {seed_interval(group.value, metric).text() for (_, metric, *_), group in groups}


def of_the_measures():
    """UES by hand from each seed's accuracies."""
    wide = read("measures").pivot(index="seed", columns=["model", "measure"], values="value")
    before, after = wide["before"] - 0.5, wide["after"] - 0.5
    ues = 1 - after["accuracy, forgotten"] / before["accuracy, forgotten"]
    for name in ("accuracy, retained", "accuracy, unseen"):
        ues *= 1 - (after[name] - before[name]).abs() / before[name]
    return {seed_interval(ues, "ues").text()}


@pytest.mark.parametrize(
    ("page", "start", "end", "intervals", "least"),
    [
        ("docs/comparison.md", "# The comparison", None, of_the_comparison, 100),
        ("README.md", "| highest Unlearning", "| forgetting low-quality", of_the_comparison, 10),
        # the last point's correlation has bounds from the run itself
        ("docs/findings.md", "## What a sceptic", "- **Who resembled", of_the_attacks, 8),
        ("README.md", "| `make study` |", "| `make test` |", of_the_measures, 1),
    ],
    ids=["comparison", "claims", "attacks", "first command"],
)
def test_quoted_intervals_are_those_of_the_csv_files(page, start, end, intervals, least):
    quoted = re.findall(r"-?\d\.\d{3} \[[^]]+\]", section(page, start, end))
    assert len(quoted) >= least
    assert set(quoted) - intervals() == set()


def test_quoted_scores_of_the_frontier_are_its_points():
    """Means over the seeds on which every curve is complete."""
    quoted = re.findall(
        r"\b0\.\d{3}\b", section("docs/comparison.md", "## The frontier", "## On LFW")
    )
    points = on_common_seeds(read("frontier")).groupby(["dataset", "method", "factor"])
    means = points[["ues", "forgetting", "stability"]].mean().to_numpy().ravel()
    assert len(quoted) >= 8
    assert set(quoted) - {f"{mean:.3f}" for mean in means} == set()


# Ranges


def out_of_range(table):
    """Values and bounds of a table that a measure of that name cannot take, or in wrong order."""
    wrong = []
    for name in table.select_dtypes("number"):
        low, high = measure_range(name)
        wrong += [(name, value) for value in table[name] if value < low or value > high]
    for line in table.to_dict("records") if {"low", "high"} <= set(table) else ():
        low, high = measure_range(str(line.get("metric", "")))
        bounds = [x for x in (low, line["low"], line["value"], line["high"], high) if x == x]
        wrong += [line] * (bounds != sorted(bounds))
    return wrong


@pytest.mark.parametrize("path", CSV_FILES, ids=lambda path: path.name)
def test_no_committed_table_leaves_a_measures_range(path):
    assert out_of_range(read(path.stem)) == []


def test_a_value_out_of_range_is_found():
    line = {"metric": "recall", "value": 0.01, "low": -0.02, "high": 0.04}
    assert out_of_range(pd.DataFrame([line])) == [line]
    assert out_of_range(pd.DataFrame([{**line, "metric": "spearman"}])) == []
    assert out_of_range(pd.DataFrame({"ues": [0.5, 1.01]})) == [("ues", 1.01)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_interval_on_a_page_leaves_its_range(path):
    """Shares and their differences lie within [-1, 1]; points have one decimal."""
    for found in INTERVAL.findall(section(path)):
        value, low, high = map(float, found)
        limit = 100 if len(found[0].split(".")[1]) == 1 else 1
        assert -limit <= low <= value <= high <= limit, found


def test_the_table_on_lfw_whose_rows_are_not_kept_is_of_shares():
    table = section("docs/findings.md", "| | before |", "Chosen without labels")
    bounds = [float(bound) for found in INTERVAL.findall(table) for bound in found]
    assert len(bounds) > 40
    assert SHARE[0] <= min(bounds) <= max(bounds) <= SHARE[1]
