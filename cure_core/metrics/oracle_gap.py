"""How close a student is to the oracle, the model retrained without the forget set."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from cure_core.metrics.ues import accuracies


def tug_of_war(
    accuracy: Mapping[str, float],
    oracle: Mapping[str, float],
    sets: Iterable[str] = ("forget", "retain", "test"),
) -> float:
    """ToW: the product over the sets of 1 - |A - A_oracle|; 1 is the oracle itself.

    Both map each name in `sets` to accuracy in [0, 1]; returns a number in [0, 1].
    Source: RUM (arXiv:2406.01257). Raises ValueError, naming the set, for one that is missing,
    NaN or outside [0, 1].
    """
    sets = tuple(sets)
    ours, ideal = accuracies(accuracy, sets, "accuracy"), accuracies(oracle, sets, "oracle")
    return math.prod(1 - abs(ours[name] - ideal[name]) for name in sets)
