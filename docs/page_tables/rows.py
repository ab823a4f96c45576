"""What the tables share: the rows of a CSV file, and how a number is written."""

from functools import cache
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[2]
DATASETS = {"synthfaces": "SynthFaces", "lfw": "LFW"}


@cache
def read(name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "figures" / f"{name}.csv")


def random_people(dataset: str) -> pd.DataFrame:
    """The rows of the comparison on the main request of a data set."""
    rows = read("comparison")
    return rows[(rows.dataset == dataset) & (rows.request == "random_people")]
