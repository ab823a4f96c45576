"""The tables about the number of clusters."""

from collections.abc import Callable, Iterable
from functools import partial

import pandas as pd

from cure_study.experiments.comparison.methods import LABELS, OURS
from page_tables.rows import DATASETS, REQUESTS, read, score

COUNTS = {
    "0.1": "a tenth",
    "0.25": "a quarter",
    "0.5": "half",
    "1": "as chosen without labels",
    "2.0": "twice",
    "4.0": "four times",
    "10.0": "ten times",
}  # a value in figures/sensitivity.csv: how many times the number chosen


def chosen() -> pd.DataFrame:
    """The numbers of clusters that were chosen without labels: the lowest and highest of a case."""
    rows = read("comparison")
    rows = rows[rows.method == "cure"]
    lines = []
    for dataset, title in DATASETS.items():
        for request in ("random_people", "hardest_people"):
            case = rows[(rows.dataset == dataset) & (rows.request == request)]
            retained = {"synthfaces": 85, "lfw": 123, "redrawn": 85}[dataset]
            lines.append(
                {
                    "data": title,
                    "request": REQUESTS[request],
                    "forget clusters (15 people)": _range(case.clusters_forget),
                    "retain clusters (people)": f"{_range(case.clusters_retain)} ({retained})",
                }
            )
    return pd.DataFrame(lines)


def _range(values: pd.Series) -> str:
    return f"{values.min():.0f} to {values.max():.0f}"


def sensitivity(counts: Iterable[str]) -> pd.DataFrame:
    """UES as the number of forget clusters leaves the one chosen without labels."""
    rows = read("sensitivity")
    rows = rows[rows.seed.isin(rows[rows.factor == "forget clusters"].seed)]
    lines = []
    for times in counts:
        line = {"number of forget clusters": COUNTS[times]}
        of = rows.factor == ("base" if times == "1" else "forget clusters")
        for method in OURS[:2]:
            seeds = rows[of & (rows.value == times) & (rows.method == method)]
            line[LABELS[method]] = score(seeds.ues, "ues", 2)
        lines.append(line)
    return pd.DataFrame(lines)


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "clusters-chosen": chosen,
    "clusters-sensitivity": partial(sensitivity, COUNTS),
    "claims-clusters": partial(sensitivity, ("0.1", "0.25", "1", "4.0", "10.0")),
}
