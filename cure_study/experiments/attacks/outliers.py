"""Detecting over-forgetting: are the forgotten people outliers among people never seen?

For the oracle the forgotten people *are* never seen, so the AUC is near 1/2; for a student that
erases beyond that, it need not be.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cure_core.metrics.arrays import checked, labels_of
from cure_core.metrics.intervals import Interval, auc_interval
from cure_core.metrics.membership import auc_over_people, rank_auc

SPLITS = 5  # of the people into folds, to average over
# The cross-fitted AUC varies this much more than one of fixed scores (in variance), by simulation.
REFIT_INFLATION = 1.7


def outlier_auc(
    forget: ArrayLike,
    strangers: ArrayLike,
    forget_people: ArrayLike,
    stranger_people: ArrayLike,
    *,
    n_bootstrap: int = 300,
    seed: int = 0,
) -> Interval:
    """Label-free detection: how far forget images lie from the distribution of strangers.

    The attacker knows no one who was forgotten. A normal distribution is fitted to the features
    of half of the strangers; the AUC says how well the Mahalanobis distance from it separates
    forget images from those of the other half. 1/2 is no trace; below 1/2, they are more typical
    than strangers are. People's names are used only to split the halves and to resample.

    Shapes: forget (L, F) and strangers (M, F) features of images, their people (L,) and (M,).
    Returns the AUC with a 95 % interval over people. Source: our choice.
    Raises ValueError for empty features, NaN, or fewer than two strangers.
    """
    rows, forget_rows = checked(strangers, "strangers", 2), checked(forget, "forget", 2)
    people = labels_of(stranger_people, len(rows), "stranger_people")
    names = np.random.default_rng(seed).permutation(np.unique(people))
    if len(names) < 2:
        raise ValueError(f"{len(names)} strangers; two at least are needed, to split in halves")
    fitted = np.isin(people, names[: len(names) // 2])
    model = make_pipeline(StandardScaler(), LedoitWolf()).fit(rows[fitted])
    forget_distance, stranger_distance = (
        model[-1].mahalanobis(model[:-1].transform(values))
        for values in (forget_rows, rows[~fitted])
    )
    return auc_over_people(
        forget_distance, stranger_distance, forget_people, people[~fitted], n_bootstrap, seed
    )


def detection_auc(
    forget: pd.DataFrame,
    strangers: pd.DataFrame,
    forget_people: ArrayLike,
    stranger_people: ArrayLike,
    *,
    n_bootstrap: int = 300,
    seed: int = 0,
) -> Interval:
    """Detection with labels: how well an attacker who knows some forgotten people finds the others.

    A person's features are the means and standard deviations over their images. A standardised
    logistic regression, cross-validated in five folds of people (or as many as the smaller side
    has), separates forgotten people from strangers. Only people of one fold are compared, by the
    fit without them, so the expected AUC is 1/2 if there is no difference; comparing scores of
    different fits, each trained on the other's people, gives less. Mean over `SPLITS` splits.

    Shapes: forget (L, F) and strangers (M, F), same columns, their people (L,) and (M,). Returns
    the AUC with a 95 % interval over people, by `auc_interval` (NaN bounds for n_bootstrap = 0);
    its coverage is simulated in `benchmarks/interval_coverage.py`. Source: our choice.
    Raises ValueError for empty features, NaN, or fewer than two people on either side.
    """
    tables = ("forget", forget, forget_people), ("strangers", strangers, stranger_people)
    sides = []
    for name, table, people in tables:
        rows = pd.DataFrame(checked(table, name, ndim=2))
        sides.append(rows.groupby(labels_of(people, len(rows), name)).agg(["mean", "std"]))
    counts = [len(side) for side in sides]
    if min(counts) < 2:
        raise ValueError(f"{counts[0]} forgotten and {counts[1]} strangers; two of each")
    features = np.concatenate([side.fillna(0).to_numpy() for side in sides])
    forgotten = np.arange(len(features)) < counts[0]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    aucs, n_compared = [], []
    for split in range(SPLITS):
        state = np.random.RandomState([seed, split])
        folds = StratifiedKFold(min(5, *counts), shuffle=True, random_state=state)
        for known, unknown in folds.split(features, forgotten):
            fit = model.fit(features[known], forgotten[known])
            score, positive = fit.decision_function(features[unknown]), forgotten[unknown]
            aucs.append(rank_auc(score[positive], score[~positive]))
            n_compared.append(positive.sum() * (~positive).sum())
    auc = float(np.average(aucs, weights=n_compared))
    if not n_bootstrap:
        return Interval(auc, np.nan, np.nan)
    return auc_interval(auc, counts[0], counts[1], REFIT_INFLATION)
