"""Rows of the attacks by hand, for their table and their figures."""

import numpy as np
import pandas as pd

MODELS = ("before", "after", "oracle")


def row(attack, metric, value, model="after", at=np.nan, low=np.nan, high=np.nan, seed=0):
    return {
        "model": model, "set": "forget", "attack": attack, "metric": metric, "at": at,
        "value": value, "low": low, "high": high, "seed": seed,
    }  # fmt: skip


def rows(seeds=1):
    lines = []
    for s in range(seeds):
        for k, model in enumerate(MODELS):
            value = 0.2 + 0.2 * k + 0.1 * s
            lines += [
                row("norm", "auc", value, model, low=value - 0.1, high=value + 0.1, seed=s),
                row("norm", "recall", value, model, seed=s),
                *(row("few_shot", "rank1", value, model, at=n, seed=s) for n in (1, 5)),
                *(row("relearning_2", "accuracy", value, model, at=n, seed=s) for n in (0, 3, 6)),
            ]
    return pd.DataFrame(lines)
