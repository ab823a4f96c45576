"""How to unlearn."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from cure_core.checks import real_number, whole_number
from cure_core.html import table

SEEDS = 2**32  # what torch, numpy and scikit-learn all take


@dataclass(frozen=True)
class CureConfig:
    """How to unlearn; the paper's values are not public, so every default is our choice.

    Raises ValueError that names the field, its value and what is accepted.

    clusters: "auto" (chosen without labels), one number for both sides, or (forget, retain)
    epochs: passes over the forget set; each batch of it is joined by a random retain batch
    tau: epochs between renewals of the forget centroids from the student; 0 never renews
    temperature: of the contrastive terms
    batch_size: (forget, retain); cut to the sets' sizes
    weights: of the loss terms; those not named keep the objective's defaults
    batchnorm: "train" normalises by the mixed batch and takes the statistics anew at the end,
        "frozen" keeps the teacher's
    clip: largest norm of the gradient; infinity never clips
    amp: False, "bfloat16" (True for short) or "float16", with gradients scaled: autocast
    channels_last, compile: memory format, torch.compile
    check_every: steps between looks for divergence (there is one at each epoch's end)
    """

    clusters: int | tuple[int, int] | str = "auto"
    epochs: int = 10
    tau: int = 1
    temperature: float = 0.1
    batch_size: tuple[int, int] = (32, 32)
    learning_rate: float = 5e-4
    weights: Mapping[str, float] = field(default_factory=dict)
    batchnorm: str = "train"
    clip: float = 5.0
    seed: int = 0
    amp: bool | str = False
    channels_last: bool = True
    compile: bool = False
    check_every: int = 50

    def __post_init__(self) -> None:
        checked = {  # numpy's numbers and YAML's lists too: a checkpoint holds only Python's own
            "clusters": self._clusters(),
            "batch_size": self._integers("batch_size", 1, (2,), "two numbers of at least 1"),
            "weights": self._weights(),
            "epochs": self._integer("epochs", 1),
            "tau": self._integer("tau", 0),
            "seed": self._integer("seed", 0),
            "check_every": self._integer("check_every", 1),
            "temperature": self._positive("temperature"),
            "learning_rate": self._positive("learning_rate"),
            "clip": self._positive("clip", finite=False),
            "batchnorm": self._one_of("batchnorm", "train", "frozen"),
            "amp": self._one_of("amp", False, True, "bfloat16", "float16"),
            "channels_last": self._one_of("channels_last", False, True),
            "compile": self._one_of("compile", False, True),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if self.seed >= SEEDS:
            raise self._wrong("seed", f"a whole number below {SEEDS}")

    def _wrong(self, name: str, accepted: str) -> ValueError:
        return ValueError(f"{name}={getattr(self, name)!r}; it is {accepted}")

    def _clusters(self) -> int | tuple[int, ...] | str:
        if isinstance(self.clusters, str) and self.clusters == "auto":
            return "auto"
        accepted = "'auto', a number of at least 2, or two of them"
        numbers = self._integers("clusters", 2, (1, 2), accepted)
        return numbers[0] if len(numbers) == 1 else numbers

    def _weights(self) -> dict[str, float]:
        given = self.weights
        if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
            raise self._wrong("weights", "a mapping of loss terms to numbers")
        numbers = {name: real_number(weight) for name, weight in given.items()}
        if not all(0 <= number < math.inf for number in numbers.values()):
            raise self._wrong("weights", "a mapping of loss terms to numbers of at least 0")
        return numbers

    def _integers(
        self, name: str, least: int, lengths: tuple[int, ...], accepted: str
    ) -> tuple[int, ...]:
        value = getattr(self, name)
        items = value.tolist() if isinstance(value, np.ndarray) else value
        items = items if isinstance(items, list | tuple) else [items]
        try:
            numbers = tuple(map(whole_number, items))
        except TypeError:
            numbers = ()
        if len(numbers) not in lengths or min(numbers) < least:
            raise self._wrong(name, accepted)
        return numbers

    def _integer(self, name: str, least: int) -> int:
        try:
            number = whole_number(getattr(self, name))
        except TypeError:
            number = least - 1
        if number < least:
            raise self._wrong(name, f"a whole number of at least {least}")
        return number

    def _positive(self, name: str, finite: bool = True) -> float:
        number = real_number(getattr(self, name))
        if not number > 0 or (finite and number == math.inf):
            raise self._wrong(name, f"a {'finite ' if finite else ''}number above 0")
        return number

    def _one_of(self, name: str, *accepted: bool | str) -> bool | str:
        value = getattr(self, name)
        value = value.item() if isinstance(value, np.generic) else value
        for known in accepted:  # by type, too: 1 == True
            if type(value) is type(known) and value == known:
                return known
        *first, last = map(repr, accepted)
        raise self._wrong(name, f"{', '.join(first)} or {last}")

    def _repr_html_(self) -> str:
        values, defaults = vars(self), vars(CureConfig())
        changed = frozenset(name for name in values if values[name] != defaults[name])
        return table("CureConfig (bold: not the default)", values, changed)
