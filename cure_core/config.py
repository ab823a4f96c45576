"""How to unlearn."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cure_core.checks import NOT_NEGATIVE, POSITIVE, check_settings, real, setting, whole
from cure_core.html import table


def _whole_numbers(
    name: str, value: Any, least: int, lengths: tuple[int, ...], accepted: str
) -> tuple[int, ...]:
    """`value`, one number or several, as a tuple. Raises ValueError that names what is accepted."""
    items = value.tolist() if isinstance(value, np.ndarray) else value
    items = items if isinstance(items, list | tuple) else [items]
    try:
        numbers = tuple(whole(name, item, least) for item in items)
    except ValueError:
        numbers = ()
    if len(numbers) not in lengths:
        raise ValueError(f"{name}={value!r}; it is {accepted}")
    return numbers


def _clusters(name: str, value: Any) -> int | tuple[int, ...] | str:
    if isinstance(value, str) and value == "auto":
        return value
    accepted = "'auto', a number of at least 2, or two of them"
    numbers = _whole_numbers(name, value, 2, (1, 2), accepted)
    return numbers[0] if len(numbers) == 1 else numbers


def _learning_rate(name: str, value: Any) -> float | str:
    if isinstance(value, str) and value == "auto":
        return value
    try:
        return real(name, value, *POSITIVE)
    except ValueError as error:
        raise ValueError(f"{error}, or 'auto'") from None


def _weights(name: str, value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping) or not all(isinstance(term, str) for term in value):
        raise ValueError(f"{name}={value!r}; it is a mapping of loss terms to numbers")
    return {term: real(f"{name}={value!r}: {term}", w, *NOT_NEGATIVE) for term, w in value.items()}


def _clip(name: str, value: Any) -> float:
    unlimited = isinstance(value, float | np.floating) and value == math.inf
    return math.inf if unlimited else real(name, value, *POSITIVE)


def _choice(name: str, value: Any, *known: bool | str) -> bool | str:
    value = value.item() if isinstance(value, np.generic) else value
    for choice in known:
        if type(value) is type(choice) and value == choice:  # by type, too: 1 == True
            return choice
    *first, last = map(repr, known)
    raise ValueError(f"{name}={value!r}; it is {', '.join(first)} or {last}")


@dataclass(frozen=True)
class CureConfig:
    """How to unlearn; the paper's values are not public, so every default is our choice.

    Raises ValueError that names the field, its value and what is accepted.

    clusters: "auto" (chosen without labels), one number for both sides, or (forget, retain)
    epochs: passes over the forget set; each batch of it is joined by a random retain batch
    retain_epochs: passes over the retain set, for a method that shows no forget image (`blend`):
        it has no other epochs
    tau: epochs between updates of the forget centroids from the student; 0 never updates them
    temperature: of the contrastive terms
    batch_size: (forget, retain); cut to the sets' sizes. A method that shows no forget image takes
        as many of the retain set as both together
    learning_rate: of Adam; the highest, if the method lowers it. "auto": the method's own
    weights: of the loss terms; those not named keep the objective's defaults
    batchnorm: "train" normalises by the mixed batch and recomputes the statistics at the end,
        "frozen" keeps the teacher's
    clip: largest norm of the gradient; infinity never clips
    seed: of all randomness
    amp: autocast: False, "bfloat16" (True for short), "float16" (with gradients scaled), or "auto":
        bfloat16 where the device is faster with it
    channels_last: the memory format of the encoder; faster for most
    compile: torch.compile (needs a C++ compiler)
    check_every: steps between checks for divergence (there is one at each epoch's end)
    """

    clusters: int | tuple[int, int] | str = setting("auto", _clusters)
    epochs: int = setting(10, whole, 1)
    retain_epochs: int = setting(4, whole, 1)
    tau: int = setting(1, whole)
    temperature: float = setting(0.1, real, *POSITIVE)
    batch_size: tuple[int, int] = setting(
        (32, 32), _whole_numbers, 1, (2,), "two numbers of at least 1"
    )
    learning_rate: float | str = setting("auto", _learning_rate)
    weights: Mapping[str, float] = field(default_factory=dict, metadata={"check": _weights})
    batchnorm: str = setting("train", _choice, "train", "frozen")
    clip: float = setting(5.0, _clip)
    seed: int = setting(0, whole, 0, 2**32 - 1)  # what torch, numpy and scikit-learn all take
    amp: bool | str = setting(False, _choice, False, True, "bfloat16", "float16", "auto")
    channels_last: bool = setting(True, _choice, False, True)
    compile: bool = setting(False, _choice, False, True)
    check_every: int = setting(50, whole, 1)

    def __post_init__(self) -> None:
        check_settings(self)

    def _repr_html_(self) -> str:
        values, defaults = vars(self), vars(CureConfig())
        changed = frozenset(name for name in values if values[name] != defaults[name])
        return table("CureConfig (bold: not the default)", values, bold=changed)
