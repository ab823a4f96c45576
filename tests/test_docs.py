"""The tables of the pages, and the numbers and verdicts of their text, are those of the CSV files.

What a page quotes is computed here without the code that writes the tables.
"""

import re
import runpy
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from cure_core.metrics.intervals import measure_range, seed_interval
from cure_study.experiments.comparison.methods import PEERS

ROOT = Path(__file__).parents[1]
CSV_FILES = sorted((ROOT / "figures").glob("*.csv"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
INTERVAL = re.compile(r"(-?\d+\.\d+) \[(-?\d+\.\d+), (-?\d+\.\d+)\]")
CASE = ["dataset", "request"]


@cache
def read(name):
    return pd.read_csv(ROOT / "figures" / f"{name}.csv")


@cache
def tables():
    return runpy.run_path(str(ROOT / "docs" / "tables.py"))


def words(path):
    """The text of a page on one line, without bold and without blocks of code."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r"\s+", " ", text.replace("**", ""))


# Tables


def test_the_tables_of_the_pages_are_those_of_the_csv_files():
    """Otherwise run `make docs`. Every table that can be written stands on a page."""
    texts = {path: path.read_text(encoding="utf-8") for path in tables()["PAGES"]}
    named = {found[2] for text in texts.values() for found in tables()["MARKED"].finditer(text)}
    assert named == set(tables()["TABLES"])
    assert {path: tables()["with_tables"](text, path) for path, text in texts.items()} == texts


def test_tables_are_small_enough_to_read():
    of_prose = ("methods", "gallery", "settings-", "parameters-")  # reference, not results
    for name, table in tables()["TABLES"].items():
        if name.startswith(of_prose):
            continue
        cells = [*table().columns, *table().to_numpy().ravel()]
        longest = max(cells, key=lambda cell: len(cell.split()))
        assert len(longest.split()) <= 20, (name, longest)
        assert table().shape[1] <= 6, name


def test_links_of_the_claims_lead_to_sections_that_exist():
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs" / "claims.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    table = "<!-- table: claims -->\n<!-- end of table -->\n"
    for page, target in (("README.md", "docs/claims.md"), ("docs/claims.md", "claims.md")):
        links = re.findall(r"\]\((.+?)#(.+?)\)", tables()["with_tables"](table, ROOT / page))
        assert len(links) == 5
        assert {found for found, _ in links} == {target}
        assert {anchor for _, anchor in links} <= anchors


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_bold_differences_exclude_zero(path):
    for low, high in re.findall(
        r"\*\*-?\d\S* \[(-?\d\S*), (-?\d\S*)\]\*\*", path.read_text(encoding="utf-8")
    ):
        assert float(low) >= 0 or float(high) <= 0, (low, high)


# Numbers in the text


def student(less, decimals=3, within=1.0):
    """Texts of the means of columns of paired differences, with Student's interval over rows."""
    less = np.asarray(less, dtype=float)
    mean, error = less.mean(0), less.std(0, ddof=1) / np.sqrt(len(less))
    reach = t.ppf(0.975, len(less) - 1) * error
    bounds = [mean, (mean - reach).clip(-within), (mean + reach).clip(max=within)]
    return {
        "{:.{d}f} [{:.{d}f}, {:.{d}f}]".format(*found, d=decimals)
        for found in np.stack(bounds, -1).reshape(-1, 3)
    }


def differences(wide):
    values = wide.dropna(axis=1).to_numpy()
    return student((values[:, :, None] - values[:, None]).reshape(len(values), -1))


@cache
def of_the_comparison():
    """Intervals of each method's scores and of paired differences, by all seeds and by three."""
    rows, texts = read("comparison"), set()
    rows = rows.assign(gap=(rows.membership_recall - rows.membership_recall_oracle).abs())
    for _, case in rows.groupby(CASE):
        for score in ("ues", "ues_fresh", "membership_recall", "gap"):
            wide = case.pivot(index="seed", columns="method", values=score)
            for seeds in (wide, wide.loc[[0, 1, 2]]):
                complete = seeds.dropna(axis=1)
                texts |= {seed_interval(values, score).text() for _, values in complete.items()}
                texts |= differences(seeds)
        for kept in ("retain", "test"):
            case = case.assign(lost=case[f"accuracy_{kept}"] - case[f"accuracy_{kept}_before"])
            wide = case.pivot(index="seed", columns="method", values="lost").dropna(axis=1)
            texts |= student(100 * wide, 1, 100)
    return texts


@cache
def of_blending():
    """Means of the measures of likeness, their paired differences, and what old templates lose."""
    texts = set()
    for _, case in read("comparison").groupby(CASE):
        for score in ("tow", "accuracy_forget", "accuracy_test", "stability", "membership_recall"):
            wide = case.pivot(index="seed", columns="method", values=score).dropna(axis=1)
            texts |= {seed_interval(values, score).text(2) for _, values in wide.items()}
            texts |= differences(wide)
        lost = case.assign(lost=case.rank1_retained - case.rank1_retained_before)
        wide = lost.pivot(index="seed", columns="method", values="lost").dropna(axis=1)
        texts |= student(wide) if wide.size else set()
    return texts


@cache
def of_the_attacks():
    texts = set()
    rows = pd.concat([read("hidden"), read("recovery"), read("membership_attacks")])
    for keys in (["attack", "metric", "at", "model"], ["set", "attack", "metric", "at", "model"]):
        for where, group in rows.groupby(keys, dropna=False):
            metric = where[keys.index("metric")]
            texts.add(seed_interval(group.value, metric).text())
    for _, group in read("attacks").groupby(["dataset", "method"]):
        for name, values in group.select_dtypes("number").items():
            if values.notna().all():
                texts.add(seed_interval(values, str(name)).text())
    return texts


@cache
def of_the_quality():
    """Changes of accuracy in points, and those of the lowest-quality minus those of random."""
    rows, texts = read("quality_accuracy"), set()
    for _, group in rows.groupby(["training", "protocol", "method", "fraction"]):
        wide = 100 * group.pivot(index="seed", columns="order", values="change")
        for column in wide:
            texts |= student(wide[column].dropna(), 1, 100)
        if {"lowest", "random"} <= set(wide):
            texts |= student(wide.lowest - wide.random, 1, 100)
    return texts


@cache
def of_the_clusters():
    rows = read("sensitivity")
    groups = rows.groupby(["method", "factor", "value"]).ues
    texts = {seed_interval(values, "ues").text() for _, values in groups}
    for _, group in rows.groupby("method"):
        cases = group.assign(case=group.factor + group.value)
        wide = cases.pivot(index="seed", columns="case", values="ues")
        texts |= differences(wide.dropna()) | differences(wide)
    return texts


@cache
def of_the_measures():
    """UES by hand from each seed's accuracies."""
    wide = read("measures").pivot(index="seed", columns=["model", "measure"], values="value")
    before, after = wide["before"] - 0.5, wide["after"] - 0.5
    ues = 1 - after["accuracy, forgotten"] / before["accuracy, forgotten"]
    for name in ("accuracy, retained", "accuracy, unseen"):
        ues *= 1 - (after[name] - before[name]).abs() / before[name]
    return {seed_interval(ues, "ues").text()}


def test_the_readme_shows_the_ues_of_the_committed_run():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    line = re.search(r"(?m)^UES \(CURE\) .*", text)[0]
    assert of_the_measures() <= {found[0] for found in INTERVAL.finditer(line)}


SOURCES = (
    *(of_the_comparison, of_blending, of_the_attacks, of_the_quality, of_the_clusters),
    of_the_measures,
)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_quoted_intervals_are_those_of_the_csv_files(path):
    text = words(path)
    quoted = {found[0] for found in INTERVAL.finditer(text)}
    known = set().union(*(source() for source in SOURCES)) if quoted else set()
    assert quoted <= known, quoted - known


def mean_ues(dataset, *methods):
    """Means on random people over the seeds that all of the methods have."""
    rows = read("comparison")
    rows = rows[(rows.dataset == dataset) & (rows.request == "random_people")]
    wide = rows.pivot(index="seed", columns="method", values="ues")[list(methods)].dropna()
    assert len(wide) == 3
    return wide.mean()


def test_quoted_means_are_those_of_the_csv_files():
    claims, appendix = (
        words(ROOT / "docs" / f"{name}.md") for name in ("claims", "comparison_appendix")
    )
    scatter = mean_ues("synthfaces", "cure_scatter_no_scatter", "cure_scatter")
    assert "{:.3f} instead of {:.3f}".format(*scatter) in claims
    transferred = mean_ues("lfw", "cure_plus_transferred", "cure_plus")
    assert "scores {:.3f}, and {:.3f} with its own search".format(*transferred) in claims
    assert "scores {:.3f} on LFW, and {:.3f} with those of".format(*transferred) in appendix
    measures = read("measures")
    rates = measures[measures.measure == "TAR@FAR=1e-3, unseen"].groupby("model").value.mean()
    assert f"falls by {100 * (1 - rates.after / rates.before):.0f} %" in claims


# Verdicts in words


def undecided(score, datasets, requests, best):
    """Where the 95 % interval of CURE minus the peer with the best mean score includes 0."""
    found = set()
    for (dataset, request), case in read("comparison").groupby(CASE):
        if dataset in datasets and request in requests:
            wide = case.pivot(index="seed", columns="method", values=score)
            less = wide.cure - wide[getattr(wide[list(PEERS)].mean(), best)()]
            assert len(less) == 5
            if abs(less.mean()) < t.ppf(0.975, 4) * less.std(ddof=1) / np.sqrt(5):
                found.add((dataset, request))
    return found


def test_cure_differs_from_the_best_peer_on_every_request_but_one():
    """As docs/claims.md says of UES, of UES by new images and of membership recall."""
    people = {"random_people", "hardest_people"}
    requests, faces = {*people, "random_samples"}, {"synthfaces", "redrawn"}
    everywhere = {*faces, "lfw"}
    assert undecided("ues", everywhere, requests, "idxmax") == {("lfw", "random_people")}
    assert undecided("ues_fresh", everywhere, people, "idxmax") == {("lfw", "hardest_people")}
    recall = undecided("membership_recall", faces, requests, "idxmin")
    assert recall == {("synthfaces", "random_people")}


def test_erasing_marks_people_and_retraining_does_not():
    """On LFW, where the teacher does not mark them either; as the first page says first."""
    rows = read("attacks")
    aucs = rows[rows.dataset == "lfw"].pivot(
        index="seed", columns="method", values="told_apart_auc"
    )
    references = aucs[["oracle", "teacher"]].mean()
    assert references.between(0.4, 0.6).all()
    assert aucs.drop(columns=["oracle", "teacher"]).min().min() > 0.75
    assert 0.4 < rows[rows.method == "oracle"].told_apart_auc.mean() < 0.6


def test_the_four_best_on_lfw_do_not_differ_and_cure_is_fifth():
    rows = read("comparison")
    rows = rows[(rows.dataset == "lfw") & (rows.request == "random_people")]
    wide = rows.pivot(index="seed", columns="method", values="ues")
    wide = wide[[*PEERS, "cure", "cure_plus", "cure_scatter"]]
    best = list(wide.mean().sort_values(ascending=False).index[:5])
    assert best[4] == "cure"
    assert set(best[:4]) == {"random_relabel", "cure_scatter", "cure_plus", "dispersion"}
    for one, other in pairwise(best[:4]):
        low, high = INTERVAL.match(*student(wide[one] - wide[other])).groups()[1:]
        assert float(low) < 0 < float(high)


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
    rows = read(path.stem).copy()
    if path.stem == "map_moves":  # a cosine distance, from 0 to 2
        assert rows.pop("change").between(0, 2).all()
    assert out_of_range(rows) == []


def test_a_value_out_of_range_is_found():
    line = {"metric": "recall", "value": 0.01, "low": -0.02, "high": 0.04}
    assert out_of_range(pd.DataFrame([line])) == [line]
    assert out_of_range(pd.DataFrame([{**line, "metric": "spearman"}])) == []
    assert out_of_range(pd.DataFrame({"ues": [0.5, 1.01]})) == [("ues", 1.01)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_interval_on_a_page_leaves_its_range(path):
    """Shares and their differences lie within [-1, 1]; points have one decimal."""
    for found in INTERVAL.findall(words(path)):
        value, low, high = map(float, found)
        limit = 100 if len(found[0].split(".")[1]) == 1 else 1
        assert -limit <= low <= value <= high <= limit, found
