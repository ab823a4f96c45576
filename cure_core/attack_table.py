"""What an attack found, as a tidy row, and all of it as a table to read."""

import numpy as np
import pandas as pd

from cure_core.metrics.intervals import Interval, mean_interval

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
    95 % interval over seeds (Student's t).
    """
    lines = rows.assign(at=[f"{at:g}" if np.isfinite(at) else "" for at in rows["at"]])
    keys = ["attack", "metric", "at", "model"]

    def text(own: pd.DataFrame) -> str:
        one = own[["value", "low", "high"]].iloc[0]
        value, low, high = one if len(own) == 1 else mean_interval(own["value"])
        return f"{value:.3f}" if np.isnan(low) else f"{value:.3f} [{low:.3f}, {high:.3f}]"

    cells = {key: text(own) for key, own in lines.groupby(keys, sort=False)}
    table = pd.Series(cells, name="value").rename_axis(keys).unstack("model", sort=False)
    return table.fillna("")
