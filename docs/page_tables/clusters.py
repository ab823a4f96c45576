"""The tables about the number of clusters."""

from collections.abc import Callable

import pandas as pd

from cure_study.experiments.comparison.methods import LABELS
from page_tables.rows import DATASETS, REQUESTS, each_seed, read


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


def sensitivity() -> pd.DataFrame:
    """UES at other numbers of forget clusters: the values of the seeds."""
    rows = read("sensitivity")
    lines = []
    for factor in (0.1, 0.25, 0.5, 1, 2, 4, 10):
        line = {"forget clusters, multiple of the number chosen": f"{factor:g}"}
        for method in ("cure", "cure_plus"):
            case = rows[rows.method == method]
            varied = case[case.factor == "forget clusters"]
            if factor == 1:
                case = case[(case.factor == "base") & case.seed.isin(varied.seed)]
            else:
                case = varied[varied.value.astype(float) == factor]
            line[f"UES (CURE) of {LABELS[method]}"] = each_seed(case.ues)
        lines.append(line)
    return pd.DataFrame(lines)


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "clusters-chosen": chosen,
    "clusters-sensitivity": sensitivity,
}
