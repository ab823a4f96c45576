"""The attacks as a table to read, from the tidy rows of `attacks.attack_all`."""

import numpy as np
import pandas as pd

from cure_core.metrics.intervals import mean_interval


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
