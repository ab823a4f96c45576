"""What the pages say of the comparison is what its committed rows say."""

import itertools
import re
from pathlib import Path

import pandas as pd
import pytest

from cure_core.metrics.intervals import SHARE, difference_interval, measure_range, seed_interval
from cure_study.experiments.comparison import tables
from cure_study.experiments.comparison.methods import kind
from cure_study.experiments.comparison.plan import read_plan
from cure_study.experiments.comparison.store import read_rows
from cure_study.figures.ablations import CHANGES
from cure_study.figures.attacked import TRIED
from cure_study.figures.comparison import on_common_seeds

ROOT = Path(__file__).parents[1]
PEOPLE = "random_people"


@pytest.fixture(scope="module")
def rows():
    return read_rows(ROOT / "figures", "comparison")


@pytest.fixture(scope="module")
def summary(rows):
    main = [m for m in read_plan().methods if m in set(rows.method)]
    return tables.summary(tables.complete(rows, main))


def interval(row, name):
    return f"{row[name]:.3f} [{row[f'{name}_low']:.3f}, {row[f'{name}_high']:.3f}]"


def spelled(values, measure):
    """A mean with its interval, as the pages write it."""
    return seed_interval(values, measure).text()


def spelled_less(values):
    """The mean of paired differences with its interval."""
    return difference_interval(values, "ues").text()


def told_in(text):
    """Every interval that a text tells."""
    return re.findall(r"-?\d\.\d{3} \[[^]]+\]", re.sub(r"\s+", " ", text.replace("**", "")))


def cells(row):
    """A line of a page's table, without the method's name, from a line of the summary."""
    return [
        interval(row, "ues"), interval(row, "fresh"),
        f"{row['forgetting']:.3f}", f"{row['stability']:.3f}",
        f"{row['rank1_new_gallery']:.2f}", f"{row['tow']:.2f}", f"{row['recall']:.3f}",
    ]  # fmt: skip


def lines_of(page, marker):
    """The first table below a marker of the page: a method's cells by its name, unbolded."""
    below = page[page.index(marker) :].replace("**", "")
    table = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE).group()
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {re.match(r"`(\w+)`", line[0]).group(1): line[1:] for line in lines[2:]}


@pytest.mark.parametrize(
    ("dataset", "marker"), [("synthfaces", "## On SynthFaces"), ("lfw", "## On LFW")]
)
def test_the_tables_of_the_comparison_are_those_of_its_rows(summary, dataset, marker):
    page = (ROOT / "docs" / "comparison.md").read_text()
    shown = lines_of(page, marker)
    case = summary[(summary.dataset == dataset) & (summary.request == PEOPLE)]
    measured = {row["method"]: cells(row) for row in case.to_dict("records")}
    assert list(shown) == list(measured), "who is in the table, best first"
    assert shown == measured


SUFFIXES = {words: suffix for suffix, words in CHANGES.items()}


def test_the_table_of_ablations_is_that_of_its_rows(rows):
    """Each cell, whether it is bold, and that no ablation of ours is left out.

    Where a seed is still to run, a cell has each seed's change instead of their interval.
    """
    page = (ROOT / "docs" / "comparison.md").read_text()
    table = re.search(r"^\| change \|.*\n(?:^\|.*\n)+", page, re.MULTILINE).group().splitlines()
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    columns = [re.fullmatch(r"(LFW's )?`(\w+)`", cell).groups() for cell in lines[0][1:]]
    shown, told = {}, {}
    for change, *own in lines[2:]:
        for (lfw, base), cell in zip(columns, own, strict=True):
            dataset = "lfw" if lfw else "synthfaces"
            name, seeds = f"{base}_{SUFFIXES[change]}", read_plan().data[dataset].few_seeds
            case = rows[(rows.dataset == dataset) & (rows.request == PEOPLE)]
            wide = case.pivot(index="seed", columns="method", values="ues").loc[seeds]
            if name in wide:
                less = (wide[name] - wide[base]).dropna()
                told[dataset, name] = change_cell(less, len(seeds))
            if cell:
                shown[dataset, name] = cell
    assert shown == told
    ours = rows.method.str.match("cure_") & (rows.method.map(kind) == "ablation")
    assert set(zip(rows.dataset[ours], rows.method[ours], strict=True)) == set(shown)


def change_cell(less, seeds):
    if len(less) < seeds:
        return ", ".join(f"{change:.3f}" for change in less)
    _, low, high = difference_interval(less, "ues")
    return f"**{spelled_less(less)}**" if low > 0 or high < 0 else spelled_less(less)


@pytest.fixture(scope="module")
def given(rows):
    """Every interval that the rows give: of a score, and of two methods' paired difference."""
    few = read_plan().data["synthfaces"].few_seeds
    found = set()
    rows = rows.assign(gap=(rows.membership_recall - rows.membership_recall_oracle).abs())
    for _, case in rows.groupby(["dataset", "request"]):
        for score in ("ues", "ues_fresh", "membership_recall", "gap"):
            wide = case.pivot(index="seed", columns="method", values=score)
            for seeds in (wide.index, wide.index.intersection(few)):
                own = wide.loc[seeds].dropna(axis=1)
                pairs = [own[a] - own[b] for a, b in itertools.permutations(own, 2)]
                found.update(spelled(own[m], score) for m in own)
                found.update(map(spelled_less, pairs))
    return found


@pytest.mark.parametrize("page", ["docs/comparison.md", "README.md"])
def test_intervals_told_of_the_comparison_are_given_by_its_rows(given, page):
    text = (ROOT / page).read_text()
    if page == "README.md":
        text = text[text.index("| highest Unlearning") :]
        text = text[: text.index("| forgetting low-quality")]
    told = told_in(text)
    assert len(told) >= 4
    assert [interval for interval in told if interval not in given] == []


def test_scores_told_of_the_frontier_are_its_points():
    """Means over the seeds on which every curve is complete."""
    page = (ROOT / "docs" / "comparison.md").read_text()
    text = page[page.index("## The frontier") : page.index("## On LFW")]
    told = re.findall(r"\b0\.\d{3}\b", text)
    points = on_common_seeds(read_rows(ROOT / "figures", "frontier"))
    means = (
        points.groupby(["dataset", "method", "factor"])[["ues", "forgetting", "stability"]]
        .mean()
        .to_numpy()
        .ravel()
    )
    assert len(told) >= 8
    assert [score for score in told if score not in {f"{mean:.3f}" for mean in means}] == []


def test_intervals_told_of_the_attacks_are_given_by_their_rows():
    """All but the correlation of movement with nearness, whose bounds are from the run itself."""
    tables = [pd.read_csv(ROOT / "figures" / f"{name}.csv") for name in ("hidden", "recovery")]
    each = pd.concat(tables).groupby(["attack", "metric", "at", "model"], dropna=False)
    given = {spelled(own.value, metric) for (_, metric, *_), own in each}
    text = (ROOT / "docs" / "findings.md").read_text()
    text = text[text.index("## What a sceptic finds") : text.index("- **Who resembled")]
    told = told_in(text)
    assert len(told) >= 8
    assert [interval for interval in told if interval not in given] == []


def test_the_table_of_attacks_by_method_is_that_of_its_rows():
    """Each cell, of both data sets, and that nobody attacked is left out."""
    rows = read_rows(ROOT / "figures", "attacks")
    text = (ROOT / "docs" / "findings.md").read_text()
    text = text[text.index("### Other methods, and real faces") :].replace("**", "")
    for dataset, table in zip(
        ("synthfaces", "lfw"), re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)[:2], strict=True
    ):
        lines = [
            [cell.strip(" `") for cell in line.split("|")[1:-1]] for line in table.splitlines()
        ]
        shown = {line[0]: line[1:] for line in lines[2:]}
        own = rows[rows.dataset == dataset].groupby("method")
        assert shown == {
            method: [
                spelled(each[name], name) if each[name].notna().all() else "" for name in TRIED
            ]
            for method, each in own
        }


TABLES = sorted((ROOT / "figures").glob("*.csv"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SIGNS = re.compile(r"(-?\d+\.\d+)\*{0,2} \[(-?\d+\.\d+), (-?\d+\.\d+)\]")


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


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.name)
def test_no_committed_table_leaves_a_measures_range(path):
    assert out_of_range(pd.read_csv(path)) == []


def test_what_is_out_of_range_is_found():
    line = {"metric": "recall", "value": 0.01, "low": -0.02, "high": 0.04}
    assert out_of_range(pd.DataFrame([line])) == [line]
    assert out_of_range(pd.DataFrame([{**line, "metric": "spearman"}])) == []
    assert out_of_range(pd.DataFrame({"ues": [0.5, 1.01]})) == [("ues", 1.01)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_interval_on_a_page_leaves_its_range(path):
    """Shares and their differences lie within [-1, 1]; points have one decimal."""
    text = re.sub(r"\s+", " ", path.read_text(encoding="utf-8"))
    for found in SIGNS.findall(text):
        value, low, high = map(float, found)
        limit = 100 if len(found[0].split(".")[1]) == 1 else 1
        assert -limit <= low <= value <= high <= limit, found


def test_the_table_on_lfw_whose_rows_are_not_kept_is_of_shares():
    table = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    table = re.search(r"(?:^\|.*\n)+", table[table.index("| | before |") :], re.MULTILINE).group()
    bounds = [float(bound) for found in SIGNS.findall(table) for bound in found]
    assert len(bounds) > 40
    assert min(bounds) >= SHARE[0]
    assert max(bounds) <= SHARE[1]


def test_the_score_of_the_first_command_is_that_of_the_measures():
    """UES by hand from each seed's accuracies, as `figures/measures.csv` has them."""
    table = pd.read_csv(ROOT / "figures" / "measures.csv")
    wide = table.pivot(index="seed", columns=["model", "measure"], values="value")
    above = wide - 0.5
    f = 1 - above["after", "accuracy, forgotten"] / above["before", "accuracy, forgotten"]
    s = 1.0
    for name in ("accuracy, retained", "accuracy, unseen"):
        moved = (above["after", name] - above["before", name]).abs()
        s *= 1 - moved / above["before", name]
    assert spelled(f * s, "ues") in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_intervals_method_covers_as_its_page_says():
    """The page's coverages are those of the committed simulation."""
    text = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    text = text[text.index("## How the intervals are made") :]
    found = pd.read_csv(ROOT / "figures" / "interval_coverage.csv")
    shares = found[found.kind == "share"]
    cells = {
        tuple(f"{x:.2f}" for x in (*own.coverage, *own.width))
        for _, own in shares.groupby(["method", "population"])
    }
    lines = re.findall(r"^\| [^|]+ \| [^|]+ \| (.+) \|$", text, re.MULTILINE)
    shown = [tuple(line.split(" | ")) for line in lines if line[0] == "0" or line[0] == "1"]
    assert len(shown) >= 6
    assert set(shown) <= cells
