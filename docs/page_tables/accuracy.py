"""The tables of docs/claims.md on accuracy: after low-quality images go, and of people who stay."""

from collections.abc import Callable
from itertools import product

import pandas as pd

from cure_study.experiments.comparison.methods import LABELS, OURS
from page_tables.rows import DATASETS, change, comparison_rows, read, score


def quality_change(
    method: str, order: str, share: float, training: str = "natural", pairs: str = "cross_age"
) -> pd.Series:
    """Change of accuracy in points, a value per seed."""
    rows = read("quality_accuracy")
    of = (rows.training == training) & (rows.method == method) & (rows.protocol == pairs)
    return 100 * rows.change[of & (rows.order == order) & (rows.fraction == share)]


def quality() -> pd.DataFrame:
    """Change of accuracy as the lowest-quality images are forgotten, and as many at random."""
    cases = [
        *(
            ("natural", m, "lowest", s)
            for s in (0.05, 0.2)
            for m in ("cure", "cure_plus", "oracle")
        ),
        *(("natural", m, "random", s) for s in (0.05, 0.2) for m in ("cure_plus", "oracle")),
        *(("planted", m, "planted", 0.2) for m in ("cure", "cure_plus", "oracle")),
    ]
    what = {"lowest": "lowest quality", "random": "random", "planted": "corrupted"}
    return pd.DataFrame(
        {
            "training images": "a fifth corrupted" if training == "planted" else "as generated",
            "forgotten": f"{what[order]}, {share:.0%}".replace("%", " %"),
            "method": LABELS[method],
            "pairs 30 years apart (points)": change(
                quality_change(method, order, share, training), "points", 1
            ),
            "other unseen pairs (points)": change(
                quality_change(method, order, share, training, "unseen"), "points", 1
            ),
        }
        for training, method, order, share in cases
    )


def accuracy_change(dataset: str, method: str, kept: str) -> pd.Series:
    rows = comparison_rows(dataset)
    rows = rows[rows.method == method]
    return rows[f"accuracy_{kept}"] - rows[f"accuracy_{kept}_before"]


def stability() -> pd.DataFrame:
    """Change of accuracy in points on people who were not to be forgotten."""
    lines = []
    for dataset, method in product(("synthfaces", "lfw"), (*OURS, "random_relabel")):
        line = {"faces": DATASETS[dataset], "method": LABELS[method]}
        for kept, title in (("retain", "retained people"), ("test", "unseen people")):
            points = 100 * accuracy_change(dataset, method, kept)
            line[f"{title} (points)"] = change(points, "points", 1)
        lines.append(line)
    return pd.DataFrame(lines)


def true_accepts() -> pd.DataFrame:
    """TAR at FAR 0.001 of `make study`, with CURE+, each seed's value."""
    rows = read("measures")
    lines = []
    for people in ("forgotten", "retained", "unseen"):
        line = {"TAR at FAR 0.001": f"{people} people"}
        for model in ("before", "after", "oracle"):
            of = (rows.measure == f"TAR@FAR=1e-3, {people}") & (rows.model == model)
            line[model] = score(rows.value[of], "tar", 2)
        lines.append(line)
    return pd.DataFrame(lines)


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "claims-quality": quality,
    "claims-stability": stability,
    "claims-tar": true_accepts,
}
