"""The tables of docs/comparison.md: each method by either goal."""

from collections.abc import Callable
from functools import partial

import pandas as pd

from cure_study.experiments.comparison.methods import LABELS, UNTUNED, competitors, in_order
from page_tables.rows import comparison_rows, name, score


def erasure(dataset: str) -> pd.DataFrame:
    """UES and its factors on random people; the oracle's stand in the last row."""
    rows = comparison_rows(dataset)
    lines = []
    for method in [*competitors(rows.method), "oracle"]:
        seeds = rows[rows.method == method]
        lines.append(
            {
                **name(method),
                "UES (CURE)": score(seeds.ues, "ues"),
                "UES, new images": score(seeds.ues_fresh, "ues"),
                "F": f"{seeds.forgetting.mean():.2f}",
                "S": f"{seeds.stability.mean():.2f}",
            }
        )
    return pd.DataFrame(lines)


def indistinguishability(dataset: str) -> pd.DataFrame:
    """What shows whether a student behaves like the oracle, on random people; means over seeds."""
    rows = comparison_rows(dataset)
    lines = []
    for method in in_order([*competitors(rows.method), *set(rows.method).intersection(UNTUNED)]):
        seeds = rows[rows.method == method]
        recall = seeds.membership_recall
        lines.append(
            {
                "method": LABELS[method],
                "ToW": f"{seeds.tow.mean():.2f}",
                "membership recall": score(recall, "recall"),
                "AUC of that attack": f"{seeds.membership_auc.mean():.2f}",
                "rank-1 once enrolled again": f"{seeds.rank1_new_gallery.mean():.2f}",
            }
        )
    return pd.DataFrame(lines)


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    f"{title}-{dataset}": partial(table, dataset)
    for title, table in (("erasure", erasure), ("indistinguishability", indistinguishability))
    for dataset in ("synthfaces", "lfw")
}
