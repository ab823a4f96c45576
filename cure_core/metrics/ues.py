"""One number for a run of unlearning: how much was forgotten, at what cost to the rest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cure_core.metrics.arrays import equal_with_nan
from cure_core.metrics.intervals import Interval, people_resamples, percentiles
from cure_core.metrics.verification import ten_fold_accuracy


@equal_with_nan
@dataclass(frozen=True, eq=False)
class UES:
    """Unlearning Efficiency Score and its two factors, each in [0, 1], higher is better."""

    score: float
    forgetting: float
    stability: float


class ScoredPairs(NamedTuple):
    """The pairs of one set with their scores before and after, all of shape (P,).

    `left` and `right` are the people of the pairs' images.
    """

    before: np.ndarray
    after: np.ndarray
    genuine: np.ndarray
    folds: np.ndarray
    left: np.ndarray
    right: np.ndarray


def unlearning_efficiency_score(
    before: Mapping[str, float],
    after: Mapping[str, float],
    kept: Iterable[str] = ("retain", "test"),
) -> UES:
    """UES (CURE) = forgetting x stability, from accuracies whose chance level is 1/2.

    forgetting = clip((A_f0 - A_f) / (A_f0 - 1/2), 0, 1): the share of the forget set's
    recognisability above chance that is lost. stability = product over the kept sets of
    clip(1 - |A - A_0| / (A_0 - 1/2), 0, 1): how little everything else changed. So 0 for an
    unchanged model, 0 for a collapsed one, 1 only for full forgetting at no cost.

    `before` and `after` map "forget" and each name in `kept` to balanced accuracy in [0, 1].
    Source: our choice; the paper (arXiv:2509.19562) names the score, its formula is not public
    to us. Raises ValueError, naming the set and its value, for a set that is missing, NaN or
    outside [0, 1], and for an accuracy before of 1/2 or less (there is nothing to lose).
    """
    sets = ("forget", *kept)
    old, new = accuracies(before, sets, "before"), accuracies(after, sets, "after")
    for name in sets:
        if old[name] <= 0.5:
            raise ValueError(
                f"before[{name!r}] is {old[name]}; UES needs an accuracy above chance (1/2) before "
                "unlearning: train the teacher longer, or on more people and images."
            )
    forgetting = _clip((old["forget"] - new["forget"]) / (old["forget"] - 0.5))
    stability = math.prod(
        _clip(1 - abs(new[name] - old[name]) / (old[name] - 0.5)) for name in sets[1:]
    )
    return UES(forgetting * stability, forgetting, stability)


def ues_intervals(
    sets: Mapping[str, ScoredPairs],
    kept: Iterable[str] = ("retain", "test"),
    n_bootstrap: int = 300,
    seed: int = 0,
) -> dict[str, Interval]:
    """UES and its two factors within a run, each with a 95 % interval over people.

    Each replicate draws people once for all sets, and both models are judged by the same pairs
    (`people_bootstrap`), so the bounds account for the correlation of the accuracies. Replicates in
    which a set has too few people to cross-validate on, or an accuracy before of 1/2 or less, are
    left out. `sets` holds "forget" and each name in `kept`. Returns "score", "forgetting" and
    "stability", in [0, 1]; NaN bounds for n_bootstrap = 0 or fewer than three people. Raises
    ValueError as `unlearning_efficiency_score` and `ten_fold_accuracy` do.
    """
    names = ("forget", *kept)
    if missing := [name for name in names if name not in sets]:
        raise ValueError(f"sets lacks {missing[0]!r}; it holds {sorted(sets)}.")
    columns = zip(*(sets[name] for name in names), strict=True)
    pairs = ScoredPairs(*map(np.concatenate, columns))
    set_of = np.repeat(np.arange(len(names)), [len(sets[name].genuine) for name in names])

    def measured(index: np.ndarray) -> UES:
        before, after = {}, {}
        for number, name in enumerate(names):
            rows = index[set_of[index] == number]
            labels, folds = pairs.genuine[rows], pairs.folds[rows]
            before[name] = ten_fold_accuracy(pairs.before[rows], labels, folds)
            after[name] = ten_fold_accuracy(pairs.after[rows], labels, folds)
        return unlearning_efficiency_score(before, after, names[1:])

    value = measured(np.arange(len(set_of)))
    replicates = []
    for index in people_resamples(pairs.left, pairs.right, n_bootstrap, seed):
        try:
            replicates.append(measured(index))
        except ValueError:  # too few people of a set were drawn
            continue
    return {
        name: percentiles(score, [getattr(ues, name) for ues in replicates])
        for name, score in vars(value).items()
    }


def h_mean(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Harmonic mean of the accuracy lost on the forget set and that left on the retain set.

    2 D A_r / (D + A_r) with D = A_f0 - A_f; 0 if none was lost (D <= 0). `before` maps
    "forget", `after` maps "forget" and "retain" to accuracy in [0, 1]; returns a number in
    [0, 1]. Where chance is 1/2, D is at most 1/2 and so the mean at most 2/3.
    Source: GS-LoRA (arXiv:2403.11530). Raises ValueError as `unlearning_efficiency_score` does.
    """
    lost = accuracies(before, ["forget"], "before")["forget"]
    new = accuracies(after, ["forget", "retain"], "after")
    lost -= new["forget"]
    return 2 * lost * new["retain"] / (lost + new["retain"]) if lost > 0 else 0.0


def accuracies(values: Mapping[str, float], sets: Iterable[str], name: str) -> dict[str, float]:
    """The accuracies of `sets`; ValueError for one missing, NaN or outside [0, 1]."""
    chosen = {}
    for key in sets:
        if key not in values:
            raise ValueError(f"{name} lacks {key!r}; it holds {sorted(values)}.")
        chosen[key] = float(values[key])
        if not 0 <= chosen[key] <= 1:  # also refuses NaN
            raise ValueError(f"{name}[{key!r}] is {chosen[key]}; expected an accuracy in [0, 1].")
    return chosen


def _clip(value: float) -> float:
    return min(max(value, 0.0), 1.0)
