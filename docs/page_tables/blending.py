"""The tables of docs/blending.md: students that are to be as if they never saw the forgotten."""

from collections.abc import Callable
from functools import partial

import pandas as pd

from cure_study.data.requests import PEOPLE_REQUESTS
from cure_study.experiments.comparison.methods import (
    BASELINES,
    BLENDING,
    LABELS,
    SECOND_ORACLE,
    UNTUNED,
    competitors,
    in_order,
)
from page_tables.attacks import DETECTION, by_method
from page_tables.rows import REQUESTS, change, comparison_rows, score

MEASURES = {
    "tow": "ToW",
    "accuracy_forget": "accuracy, forget pairs",
    "accuracy_test": "unseen people",
    "stability": "S",
    "membership_recall": "membership recall",
}


def likeness(dataset: str, request: str) -> pd.DataFrame:
    """Each model's measures; of the erasers, the one with the highest ToW."""
    rows = comparison_rows(dataset, request)
    best = rows.groupby("method").tow.mean()[competitors(rows.method)].idxmax()
    lines = []
    for method in in_order({*BLENDING, best, *UNTUNED} & set(rows.method)):
        seeds = rows[rows.method == method]
        name = f"{LABELS[method]} (best eraser)" if method == best else LABELS[method]
        cells = {title: score(seeds[column], column, 2) for column, title in MEASURES.items()}
        lines.append({"model": name, **cells})
    return pd.DataFrame(lines)


def distances(dataset: str, request: str) -> pd.DataFrame:
    """Each blending method against a second oracle, paired by seed; bold excludes 0."""
    rows = comparison_rows(dataset, request)
    by_method = {
        method: rows[rows.method == method].set_index("seed") for method in set(rows.method)
    }
    second = by_method[SECOND_ORACLE]
    lines = []
    for method in BLENDING:
        seeds = by_method[method]
        gaps = [(m.membership_recall - m.membership_recall_oracle).abs() for m in (seeds, second)]
        kept = seeds.rank1_retained - seeds.rank1_retained_before
        lines.append(
            {
                "method": LABELS[method],
                "ToW": change(seeds.tow - second.tow, "tow"),
                "distance of recall": change(gaps[0] - gaps[1], "recall"),
                "S, less the oracle's": change(
                    seeds.stability - by_method["oracle"].stability, "stability"
                ),
                "retained people in the old gallery, less the teacher's": change(kept, "rank1"),
            }
        )
    return pd.DataFrame(lines)


DATASETS = ("synthfaces", "redrawn")
TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "blending-detection": partial(
        by_method, "synthfaces", DETECTION, (*BLENDING, "cure_plus", *BASELINES)
    ),
    **{
        f"blending-{dataset}-{request}": partial(likeness, dataset, request)
        for dataset in DATASETS
        for request in REQUESTS
    },
    **{
        f"blending-distances-{request}": partial(distances, "synthfaces", request)
        for request in PEOPLE_REQUESTS  # where the second oracle has rows
    },
}
