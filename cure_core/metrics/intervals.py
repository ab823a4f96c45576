"""Intervals: over people, who are the independent units of a face data set, and over seeds."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cure_core.metrics.arrays import checked

MIN_PEOPLE = 3  # with two, every usable resample is the data itself


class Interval(NamedTuple):
    """A value and the bounds of its interval; the bounds are NaN where none can be given."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def people_bootstrap(
    statistic: Callable[[np.ndarray], float],
    people_left: Sequence[Hashable] | np.ndarray,
    people_right: Sequence[Hashable] | np.ndarray,
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of a statistic of pairs, resampling people, not pairs.

    Pairs that share a person rise and fall together, so resampling pairs would give intervals
    that are too narrow. Each replicate draws as many people as there are, with replacement. A
    genuine pair then counts as often as its person was drawn, an impostor pair as often as the
    product of both its people's counts: two copies of one person make neither kind of pair.
    Replicates without a genuine or without an impostor pair are drawn again, if the data has
    both, and those of which the statistic is NaN are left out. With about twenty people or fewer
    the bounds are too close, most of all for TAR at a small FAR; with fewer than three they are
    NaN.

    `statistic` maps indices of pairs (with repetition, in rising order) to a number:
    `lambda i: ten_fold_accuracy(scores[i], genuine[i], folds[i])`. Give that one its fold
    numbers, or copies of one pair would land in two folds.
    Shapes: people_left and people_right (P,), the person of each image of each pair.
    Source: the vertex bootstrap for pairwise data (Snijders and Borgatti, Connections 22(2),
    1999) with people as vertices; that pairs sharing a person must be resampled together, Bolle,
    Ratha and Pankanti (CVIU 93(1), 2004). Conti and Clemencon (arXiv:2211.07245) recentre the
    naive bootstrap of similarity scores; the plain percentile interval here is our choice.
    Raises ValueError for no pairs, lengths that differ, n < 1, or level outside (0, 1).
    """
    left, right = np.asarray(people_left), np.asarray(people_right)
    if left.shape != right.shape or left.ndim != 1 or not left.size:
        raise ValueError(
            f"people_left and people_right have shapes {left.shape} and {right.shape}; expected "
            "one person for each image of each pair."
        )
    if n < 1 or not 0 < level < 1:
        raise ValueError(f"n is {n} and level {level}; expected n >= 1 and level in (0, 1).")
    names, codes = np.unique(np.concatenate([left, right]), return_inverse=True)
    left, right = np.split(codes, 2)
    value = float(statistic(np.arange(len(left))))
    if len(names) < MIN_PEOPLE:
        return Interval(value, np.nan, np.nan)
    rng = np.random.default_rng(seed)
    replicates = [float(statistic(_resample(left, right, len(names), rng))) for _ in range(n)]
    low, high = np.nanquantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def _resample(
    left: np.ndarray, right: np.ndarray, n_people: int, rng: np.random.Generator
) -> np.ndarray:
    """Indices of pairs after drawing people with replacement, each kind of pair still there."""
    genuine = left == right
    while True:
        drawn = np.bincount(rng.integers(n_people, size=n_people), minlength=n_people)
        copies = np.where(genuine, drawn[left], drawn[left] * drawn[right])
        if copies[genuine].any() >= genuine.any() and copies[~genuine].any() >= (~genuine).any():
            return np.repeat(np.arange(len(left)), copies)


def mean_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Mean over seeds with Student's t interval (two-sided, n - 1 degrees of freedom).

    Shapes: values (n,). One value gives NaN bounds. Raises ValueError for none, NaN, or level
    outside (0, 1).
    """
    from scipy.stats import t

    values = checked(values, "values").astype(np.float64)
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a share in (0, 1), such as 0.95.")
    mean = float(values.mean())
    if len(values) == 1:
        return Interval(mean, np.nan, np.nan)
    error = values.std(ddof=1) / np.sqrt(len(values))
    reach = float(t.ppf((1 + level) / 2, len(values) - 1) * error)
    return Interval(mean, mean - reach, mean + reach)
