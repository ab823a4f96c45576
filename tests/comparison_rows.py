"""Rows of a comparison by hand, for its tables."""

import numpy as np
import pandas as pd
from scipy import stats

SCORES = {
    ("random_people", "cure"): [0.5, 0.6, 0.7],
    ("random_people", "cure_scatter"): [0.8, 0.8, 0.9],
    ("random_people", "scrub"): [0.1, 0.3, 0.2],
    ("random_people", "laf"): [0.2, 0.1, 0.75],
    ("random_people", "oracle"): [0.0, 0.1, 0.0],
}
CLEAR = {**SCORES, ("random_people", "laf"): [0.2, 0.1, 0.15]}  # no wide interval of a peer


def rows(scores=SCORES, recall=0.5):
    """Rows from {(request, method): [UES of each seed]}; F is UES and S is 1."""
    return pd.DataFrame(
        [
            {
                "dataset": "synthfaces", "request": request, "seed": seed, "method": method,
                "ues": ues, "forgetting": ues, "stability": 1.0, "membership_auc": 0.7,
                "ues_fresh": ues / 2 if method != "laf" else np.nan,
                "rank1_new_gallery": 1 - ues,
                "membership_recall": recall + (0.1 if method == "scrub" else 0.0),
                "membership_recall_oracle": 0.5, "membership_auc_oracle": 0.7,
            }
            for (request, method), values in scores.items()
            for seed, ues in enumerate(values)
        ]
    )  # fmt: skip


def one_seed():
    return rows({key: values[:1] for key, values in SCORES.items()})


def score_bounds(values):
    """Where (mean - mu)^2 = t^2 / n * phi * mu * (1 - mu), as roots of that quadratic."""
    mean, n = np.mean(values), len(values)
    pull = stats.t.ppf(0.975, n - 1) ** 2 * np.var(values, ddof=1) / n / (mean * (1 - mean))
    return sorted(np.roots([1 + pull, -2 * mean - pull, mean**2]))
