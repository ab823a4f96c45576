"""Intervals: over people, who are the independent units of a face data set, and over seeds.

Bounds never leave the measure's range, which `measure_range` knows from the measure's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cure_core.metrics.arrays import as_array, checked, equal_with_nan

LEVEL = 0.95  # of every interval
FEW = 5  # seeds whose values are shown one by one
MIN_PEOPLE = 3  # with two, every usable resample is the data itself
SHARE, SIGNED, UNBOUNDED = (0.0, 1.0), (-1.0, 1.0), (-np.inf, np.inf)
# These words in a measure's name determine its range; a signed word wins (`accuracy_change`).
_SIGNED = {"spearman", "correlation", "cosine", "change", "difference", "less", "gain"}
_SHARES = {
    "ues", "forgetting", "stability", "accuracy", "tar", "far", "eer", "fnmr", "recall", "auc",
    "tpr", "rank1", "tow", "h", "gap", "fresh", "share", "purity", "nmi",
}  # fmt: skip


@equal_with_nan
class Interval(NamedTuple):
    """A value and the bounds of its interval; the bounds are NaN if there are none."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"

    def text(self, decimals: int = 3) -> str:
        """The value with its interval if it has one; empty if it is NaN."""
        value, low, high = (f"{number:.{decimals}f}" for number in self)
        if np.isnan(self.value):
            return ""
        return value if np.isnan(self.low) else f"{value} [{low}, {high}]"


def measure_range(name: str) -> tuple[float, float]:
    """The lowest and highest value that a measure can take, by its name in any table.

    [0, 1] for scores, accuracies, rates and areas under ROC curves, [-1, 1] for correlations,
    cosines and differences of those, no bounds for any other name.
    """
    words = set(re.split(r"[^a-z0-9]+", name.lower()))
    if words & _SIGNED:
        return SIGNED
    return SHARE if words & _SHARES else UNBOUNDED


def people_bootstrap(
    statistic: Callable[[np.ndarray], float],
    people_left: Sequence[Hashable] | np.ndarray,
    people_right: Sequence[Hashable] | np.ndarray,
    n: int = 1000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a statistic of pairs, resampling people, not pairs.

    The scores of pairs that share a person are correlated, so resampling pairs would give intervals
    that are too narrow. Each replicate draws as many people as there are, with replacement. A
    genuine pair then counts as often as its person was drawn, an impostor pair as often as the
    product of both its people's counts: two copies of one person make neither kind of pair.
    Replicates without a genuine or without an impostor pair are drawn again, if the data has
    both, and those of which the statistic is NaN are left out. With about twenty people or fewer
    the bounds are too narrow, most of all for TAR at a small FAR; with fewer than three, or n = 0,
    they are NaN.

    `statistic` maps indices of pairs (with repetition, ascending) to a number:
    `lambda i: ten_fold_accuracy(scores[i], genuine[i], folds[i])`, with the fold numbers, or copies
    of one pair would land in two folds.
    Shapes: people_left and people_right (P,), the person of each image of each pair.
    Source: the vertex bootstrap for pairwise data (Snijders and Borgatti, Connections 22(2),
    1999) with people as vertices; that pairs sharing a person must be resampled together, Bolle,
    Ratha and Pankanti (CVIU 93(1), 2004). Conti and Clemencon (arXiv:2211.07245) recentre the
    naive bootstrap of similarity scores; the plain percentile interval here is our choice.
    Raises ValueError for no pairs, lengths that differ, n < 0.
    """
    left, right = np.asarray(people_left), np.asarray(people_right)
    if left.shape != right.shape or left.ndim != 1 or not left.size:
        raise ValueError(
            f"people_left and people_right have shapes {left.shape} and {right.shape}; expected "
            "one person for each image of each pair."
        )
    if n < 0:
        raise ValueError(f"n is {n}; expected at least 0.")
    value = float(statistic(np.arange(len(left))))
    resamples = people_resamples(left, right, n, seed)
    return percentiles(value, [float(statistic(index)) for index in resamples])


def people_resamples(
    people_left: Sequence[Hashable] | np.ndarray,
    people_right: Sequence[Hashable] | np.ndarray,
    n: int,
    seed: int = 0,
) -> Iterator[np.ndarray]:
    """The indices of pairs in each of `n` replicates of `people_bootstrap`; none for few people."""
    names, codes = np.unique(np.concatenate([people_left, people_right]), return_inverse=True)
    left, right = np.split(codes, 2)
    rng = np.random.default_rng(seed)
    for _ in range(n if len(names) >= MIN_PEOPLE else 0):
        yield _resample(left, right, len(names), rng)


def percentiles(value: float, replicates: Sequence[float]) -> Interval:
    """The value with the percentile interval of its replicates, leaving out those that are NaN."""
    if np.isnan(replicates).all():  # also if there are none
        return Interval(value, np.nan, np.nan)
    low, high = np.nanquantile(replicates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def _resample(
    left: np.ndarray, right: np.ndarray, n_people: int, rng: np.random.Generator
) -> np.ndarray:
    """Indices of pairs after drawing people with replacement, until both kinds of pair occur."""
    genuine = left == right
    while True:
        drawn = np.bincount(rng.integers(n_people, size=n_people), minlength=n_people)
        copies = np.where(genuine, drawn[left], drawn[left] * drawn[right])
        if copies[genuine].any() >= genuine.any() and copies[~genuine].any() >= (~genuine).any():
            return np.repeat(np.arange(len(left)), copies)


def seed_interval(values: ArrayLike, measure: str) -> Interval:
    """Mean over seeds of a measure, named as in `measure_range`, with the appropriate interval.

    `share_interval` for a measure in [0, 1]; `mean_interval` for others, cut to their range.
    """
    bounds = measure_range(measure)
    values = checked(values, "values")
    if values.min() < bounds[0] or values.max() > bounds[1]:  # another measure of that name
        bounds = UNBOUNDED
    return share_interval(values) if bounds == SHARE else mean_interval(values, bounds)


def share_interval(values: ArrayLike) -> Interval:
    """Mean over seeds of a measure in [0, 1], with an interval that stays inside it.

    Wilson's score interval with the dispersion between seeds in place of the binomial's and
    Student's t in place of the normal quantile: all mu with
    (mean - mu)^2 <= t^2 / n * phi * mu * (1 - mu), where phi = s^2 / (mean * (1 - mean)). Far from
    0 and 1 it is the t-interval; near them it is skewed inwards. It needs only the mean and the
    standard deviation s. Chosen by simulation (`benchmarks/interval_coverage.py`): for 3 to 5
    skewed values near a bound it covers the mean more often than Student's t does, though still
    too rarely.

    Shapes: values (n,). NaN bounds if the dispersion is unknown: one value, or values that are all
    the same. Raises ValueError for none, NaN, or values outside [0, 1]. Source: Wilson (JASA 22,
    1927); the dispersion is that of quasi-likelihood (Wedderburn, Biometrika 61(3), 1974).
    """
    values = _seeds(values, SHARE)
    mean = float(values.mean())
    if np.ptp(values) == 0:  # also for one value
        return Interval(mean, np.nan, np.nan)
    variance = float(values.var(ddof=1))
    pull = _t_quantile(len(values)) ** 2 * variance / (mean * (1 - mean)) / len(values)
    middle = (mean + pull / 2) / (1 + pull)
    reach = float(np.sqrt(pull * mean * (1 - mean) + pull**2 / 4)) / (1 + pull)
    return Interval(mean, max(0.0, middle - reach), min(1.0, middle + reach))


def difference_interval(values: ArrayLike, measure: str) -> Interval:
    """Mean over seeds of paired differences of a measure: `mean_interval`, cut to their range.

    That is [-1, 1] for a share. In the simulation its coverage is nominal, since differences are
    less skewed than the values.
    """
    low, high = measure_range(measure)
    return mean_interval(values, (low - high, high - low))


def seeds_text(values: ArrayLike, measure: str) -> str:
    """`seed_interval` as text, with each seed's value if there are at most `FEW`."""
    values = as_array(values)
    text = seed_interval(values, measure).text()
    if 1 < len(values) <= FEW:
        text += "; " + ", ".join(f"{value:.3f}" for value in values)
    return text


def mean_interval(values: ArrayLike, within: tuple[float, float] = UNBOUNDED) -> Interval:
    """Mean over seeds with Student's t interval (two-sided, n - 1 degrees of freedom).

    Cut to the range `within`. Shapes: values (n,). One value gives NaN bounds. Raises ValueError
    for none, NaN, or values outside the range.
    """
    values = _seeds(values, within)
    mean = float(values.mean())
    if len(values) == 1:
        return Interval(mean, np.nan, np.nan)
    error = values.std(ddof=1) / np.sqrt(len(values))
    reach = _t_quantile(len(values)) * error
    return Interval(mean, max(within[0], mean - reach), min(within[1], mean + reach))


def auc_interval(auc: float, positives: int, negatives: int, inflation: float = 1.0) -> Interval:
    """Score interval of an AUC between two groups of independent units; it stays in [0, 1].

    All theta with (auc - theta)^2 <= z^2 * inflation * V(theta), V the variance of the rank-sum
    statistic at theta by Hanley and McNeil's exponential model. So an AUC of 1 has an interval of
    positive width. `inflation`: the variance of the AUC relative to that for fixed scores.
    Source: Newcombe (Statistics in Medicine 25(4), 2006), method 5. Raises ValueError for an AUC
    outside [0, 1] or an empty group.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    if not 0 <= auc <= 1 or min(positives, negatives) < 1:
        raise ValueError(f"AUC {auc} of {positives} and {negatives}; expected one in [0, 1]")
    scale = norm.ppf((1 + LEVEL) / 2) ** 2 * inflation / (positives * negatives)
    others = (positives + negatives) / 2 - 1

    def excess(theta: float) -> float:
        dispersion = 1 + others * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return float((auc - theta) ** 2 - scale * theta * (1 - theta) * dispersion)

    edge = 1e-9  # the excess is 0 at a bound that is the AUC itself
    low = brentq(excess, 0, min(auc, 1 - edge)) if auc > 0 else 0.0
    high = brentq(excess, max(auc, edge), 1) if auc < 1 else 1.0
    return Interval(float(auc), float(low), float(high))


def _seeds(values: ArrayLike, within: tuple[float, float]) -> np.ndarray:
    """The values (n,) as float64; ValueError for a value outside the range."""
    values = checked(values, "values").astype(np.float64)
    low, high = within
    if values.min() < low or values.max() > high:
        raise ValueError(
            f"values go from {values.min()} to {values.max()}; expected all in [{low:g}, {high:g}]"
        )
    return values


def _t_quantile(n: int) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + LEVEL) / 2, n - 1))
