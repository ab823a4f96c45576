"""What the pages say of the comparison is what its committed rows say."""

import itertools
import re
from pathlib import Path

import pandas as pd
import pytest

from cure_core.comparison import read_plan, tables
from cure_core.comparison.store import read_rows
from cure_core.figures.ablations import CHANGES
from cure_core.figures.attacked import TRIED
from cure_core.figures.comparison import on_common_seeds
from cure_core.metrics.intervals import mean_interval

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


def spelled(values):
    """A mean with its interval, as the pages write it."""
    mean, low, high = mean_interval(values)
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"


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
    ours = rows.method.str.match("cure_") & (rows.method.map(tables.kind) == "ablation")
    assert set(zip(rows.dataset[ours], rows.method[ours], strict=True)) == set(shown)


def change_cell(less, seeds):
    if len(less) < seeds:
        return ", ".join(f"{change:.3f}" for change in less)
    _, low, high = mean_interval(less)
    return f"**{spelled(less)}**" if low > 0 or high < 0 else spelled(less)


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
                found.update(spelled(values) for values in [*(own[m] for m in own), *pairs])
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
    given = {spelled(own.value) for _, own in each}
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
            method: [spelled(each[name]) if each[name].notna().all() else "" for name in TRIED]
            for method, each in own
        }
