"""What the tables share: the rows of a CSV file, and how a number is written."""

from functools import cache
from pathlib import Path

import pandas as pd

from cure_core.metrics.intervals import difference_interval, seed_interval
from cure_study.experiments.comparison.methods import LABELS, OURS

ROOT = Path(__file__).parents[2]
DATASETS = {"synthfaces": "SynthFaces", "lfw": "LFW", "redrawn": "SynthFaces, redrawn"}
NO_BREAK = "\u00a0"  # an interval stays on one line
REQUESTS = {
    "random_people": "random people",
    "hardest_people": "hardest people",
    "random_samples": "random images",
}


@cache
def read(name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "figures" / f"{name}.csv")


def random_people(dataset: str) -> pd.DataFrame:
    """The rows of the comparison on the main request of a data set."""
    rows = read("comparison")
    return rows[(rows.dataset == dataset) & (rows.request == "random_people")]


def label(method: str) -> str:
    """A method by its name in the text, those of ours marked."""
    return LABELS[method] + (" (ours)" if method in OURS and method != "cure" else "")


def interval(values: pd.Series, measure: str) -> str:
    """The mean over seeds with its interval; of three seeds or fewer their values."""
    values = values.dropna()
    if len(values) == 0:
        return ""
    if len(values) <= 3:
        return ", ".join(f"{value:.2f}" for value in values)
    return seed_interval(values, measure).text(2).replace(" ", NO_BREAK)


def difference(values: pd.Series, measure: str) -> str:
    """The mean paired difference with its interval, bold if the interval excludes 0."""
    found = difference_interval(values.dropna(), measure)
    text = found.text(2).replace("-0.00 ", "0.00 ").replace(" ", NO_BREAK)
    return f"**{text}**" if found.low > 0 or found.high < 0 else text
