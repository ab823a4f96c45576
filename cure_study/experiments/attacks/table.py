"""The result of an attack as a tidy row, and all of them as a table to read."""

import numpy as np
import pandas as pd

from cure_core.metrics.intervals import Interval
from cure_study.evaluation.report import cell, legends

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

    Each cell as `report.cell` writes it; the last lines explain its marks.
    """
    rows = rows.assign(at=[f"{at:g}" if np.isfinite(at) else "" for at in rows["at"]])
    keys = ["attack", "metric", "at", "model"]
    means = {
        key: group.groupby(["metric", "model"]).value.mean()
        for key, group in rows.groupby(["attack", "at"])
    }
    cells = {}
    for key, measured in rows.groupby(keys, sort=False):
        attack, metric, at, model = map(str, key)
        cells[attack, metric, at, model] = cell(measured, metric, model, means[attack, at])
    table = pd.Series(cells, name="value").rename_axis(keys).unstack("model", sort=False)
    for meaning in legends(cells.values()):
        table.loc[(meaning, "", ""), :] = ""
    return table.fillna("")
