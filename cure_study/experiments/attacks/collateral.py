"""Collateral damage: do retained people who resemble the forgotten change more than others?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from scipy.stats import rankdata
from sklearn.preprocessing import normalize

from cure_core.metrics.arrays import as_array, labels_of, unit_rows
from cure_core.metrics.intervals import Interval, people_bootstrap


def collateral(
    before: torch.Tensor | ArrayLike,
    after: torch.Tensor | ArrayLike,
    people: ArrayLike,
    forgotten: torch.Tensor | ArrayLike,
    forgotten_people: ArrayLike,
) -> pd.DataFrame:
    """How far each retained person moved, and how near they were to a forgotten person.

    `movement`: one minus the mean cosine of a person's images before and after, 0 if none moved;
    align `after` first (`evaluation.procrustes.rotation`), or a rotation that changes no comparison
    counts as movement. `nearness`: the highest cosine, before, between the person's template and
    that of a forgotten person.

    Shapes: before and after (N, D), the same images of retained people (N,); forgotten (M, D),
    before, of forgotten_people (M,). Returns columns person, movement, nearness, a row a person.
    Raises ValueError for NaN or shapes that differ.
    """
    rows, moved = unit_rows(before, "before"), unit_rows(after, "after")
    people = as_array(people)
    if rows.shape != moved.shape or len(people) != len(rows):
        raise ValueError(
            f"before is {rows.shape}, after {moved.shape}, with {len(people)} labels; expected "
            "one shape and one label a row"
        )
    movement = pd.Series(1 - (rows * moved).sum(axis=1)).groupby(people).mean()
    gone = unit_rows(forgotten, "forgotten")
    nearness = _templates(rows, people) @ _templates(gone, labels_of(forgotten_people, len(gone))).T
    return pd.DataFrame(
        {
            "person": movement.index.to_numpy(),
            "movement": movement.to_numpy(),
            "nearness": nearness.max(axis=1),
        }
    )


def collateral_correlation(table: pd.DataFrame, n_bootstrap: int = 300, seed: int = 0) -> Interval:
    """Spearman's correlation of movement and nearness, with a 95 % interval over people.

    `table` as `collateral` gives it. Positive: the nearer, the further they moved. NaN where either
    column is constant. n_bootstrap = 0 gives NaN bounds.
    """
    movement, nearness = table.movement.to_numpy(), table.nearness.to_numpy()

    def spearman(index: np.ndarray) -> float:
        ranks = rankdata(movement[index]), rankdata(nearness[index])
        if min(map(np.ptp, ranks)) == 0:
            return np.nan
        return float(np.corrcoef(*ranks)[0, 1])

    people = table.person.to_numpy()
    return people_bootstrap(spearman, people, people, n=n_bootstrap, seed=seed)


def _templates(rows: np.ndarray, people: np.ndarray) -> np.ndarray:
    """A person's normalised mean embedding, a row a person in sorted order."""
    return normalize(pd.DataFrame(rows).groupby(people).mean().to_numpy())
