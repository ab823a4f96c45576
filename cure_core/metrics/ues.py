"""One number for an unlearning: how much was forgotten, at what cost to the rest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class UES:
    """Unlearning Efficiency Score and its two factors, each in [0, 1], higher is better."""

    score: float
    forgetting: float
    stability: float


def unlearning_efficiency_score(
    before: Mapping[str, float],
    after: Mapping[str, float],
    kept: Iterable[str] = ("retain", "test"),
) -> UES:
    """UES (CURE) = forgetting x stability, from accuracies whose chance level is 1/2.

    forgetting = clip((A_f0 - A_f) / (A_f0 - 1/2), 0, 1): the share of the forget set's
    recognisability above chance that is gone. stability = product over the kept sets of
    clip(1 - |A - A_0| / (A_0 - 1/2), 0, 1): how little everything else moved. So 0 for an
    untouched model, 0 for a collapsed one, 1 only for full forgetting at no cost.

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
                "unlearning."
            )
    forgetting = _clip((old["forget"] - new["forget"]) / (old["forget"] - 0.5))
    stability = math.prod(
        _clip(1 - abs(new[name] - old[name]) / (old[name] - 0.5)) for name in sets[1:]
    )
    return UES(forgetting * stability, forgetting, stability)


def h_mean(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Harmonic mean of what was lost on the forget set and what is left on the retain set.

    2 D A_r / (D + A_r) with D = A_f0 - A_f; 0 when nothing was lost (D <= 0). `before` maps
    "forget", `after` maps "forget" and "retain" to accuracy in [0, 1]; returns a number in
    [0, 1]. Where chance is 1/2, D is at most 1/2 and so the mean at most 2/3.
    Source: GS-LoRA (arXiv:2403.11530). Raises ValueError as the score above does.
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
