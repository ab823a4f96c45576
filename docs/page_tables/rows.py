"""What the tables share: the rows of a CSV file, and how a number is written."""

from functools import cache
from pathlib import Path

import pandas as pd

from cure_core.metrics.intervals import difference_interval, seed_interval
from cure_study.experiments.comparison.methods import LABELS, OURS
from cure_study.figures.comparison import REQUESTS
from cure_study.figures.style import DATASETS

__all__ = [
    "DATASETS", "REQUESTS", "by_seed", "change", "comparison_rows", "each_seed",
    "label", "name", "read", "score",
]  # fmt: skip

ROOT = Path(__file__).parents[2]
FEW = 3  # seeds whose values stand in place of an interval


@cache
def read(name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "figures" / f"{name}.csv")


def comparison_rows(dataset: str, request: str = "random_people") -> pd.DataFrame:
    rows = read("comparison")
    return rows[(rows.dataset == dataset) & (rows.request == request)]


def by_seed(dataset: str, request: str = "random_people", score: str = "ues") -> pd.DataFrame:
    """A score of the comparison, a row per seed and a column per method."""
    return comparison_rows(dataset, request).pivot(index="seed", columns="method", values=score)


def name(method: str) -> dict[str, str]:
    """The first two cells of a row: a method's label and its name in the code."""
    return {"method": LABELS[method], "code": f"`{method}`"}


def score(values: pd.Series, measure: str, decimals: int = 3) -> str:
    """The mean over seeds with its interval, or with the values themselves if they are few."""
    if len(values) > FEW:
        return seed_interval(values, measure).text(decimals)
    each = ", ".join(f"{value:.{decimals}f}" for value in values)
    return f"{values.mean():.{decimals}f} ({each})"


def change(differences: pd.Series, measure: str, decimals: int = 3) -> str:
    """The mean of paired differences with its interval, in bold if that excludes 0."""
    interval = difference_interval(differences.dropna(), measure)
    text = interval.text(decimals)
    return f"**{text}**" if interval.low > 0 or interval.high < 0 else text


def label(method: str) -> str:
    """A method by its name in the text, those of ours marked."""
    return LABELS[method] + (" (ours)" if method in OURS and method != "cure" else "")


def each_seed(values: pd.Series, decimals: int = 2) -> str:
    """The values of the seeds."""
    return ", ".join(f"{value:.{decimals}f}" for value in values.dropna())
