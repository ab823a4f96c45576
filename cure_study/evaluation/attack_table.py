"""What an attack found, as a tidy row, and all of it as a table to read."""

import numpy as np
import pandas as pd

from cure_core.metrics.intervals import Interval, seeds_text
from cure_core.metrics.membership import DETECTABLE_AUC, LEGEND, MARK, MEANINGFUL_AUC, detectable

Rows = list[dict[str, object]]


def row(
    attack: str,
    metric: str,
    value: float | Interval,
    at: float = np.nan,
    which: str = "forget",
) -> dict[str, object]:
    """One number of an attack on a `which` set; `at` is how many images or steps it took."""
    interval = value if isinstance(value, Interval) else Interval(float(value), np.nan, np.nan)
    return {"set": which, "attack": attack, "metric": metric, "at": at, **interval._asdict()}


def summarise_attacks(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one seed or several (a column `seed`) as text, a line a measure, a column a model.

    One seed: the value with its interval over people, where it has one. Several: the mean with a
    95 % interval over seeds (`seed_interval`), and each seed's value where they are few. Where an
    AUC is far below 1/2, or a recall far below the oracle's, a dagger says that the forgotten stand
    out by it, and the last line what the dagger means.
    """
    lines = rows.assign(at=[f"{at:g}" if np.isfinite(at) else "" for at in rows["at"]])
    keys = ["attack", "metric", "at", "model"]

    means = lines.groupby(keys, sort=False)["value"].mean()

    def stands_out(attack: str, metric: str, at: str, model: str) -> bool:
        mean = float(means[attack, metric, at, model])
        if metric == "recall":
            aucs = [means.get((attack, "auc", at, m), np.nan) for m in (model, "oracle")]
            if any(DETECTABLE_AUC <= auc < MEANINGFUL_AUC for auc in aucs):  # at chance
                return False
            return detectable(mean, float(means.get((attack, metric, at, "oracle"), np.nan)))
        return metric == "auc" and mean < DETECTABLE_AUC

    def text(own: pd.DataFrame, metric: str) -> str:
        if len(own) == 1:
            return Interval(*own[["value", "low", "high"]].iloc[0]).text()
        return seeds_text(own["value"].dropna(), metric) if own["value"].notna().any() else ""

    cells: dict[tuple[str, ...], str] = {}
    for key, own in lines.groupby(keys, sort=False):
        attack, metric, at, model = map(str, key)
        mark = MARK * stands_out(attack, metric, at, model)
        cells[attack, metric, at, model] = text(own, metric) + mark
    table = pd.Series(cells, name="value").rename_axis(keys).unstack("model", sort=False)
    if any(cell.endswith(MARK) for cell in cells.values()):
        table.loc[(LEGEND, "", ""), :] = ""
    return table.fillna("")
