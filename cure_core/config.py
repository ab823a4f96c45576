"""How to unlearn."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from cure_core.rich import table


@dataclass(frozen=True)
class CureConfig:
    """How to unlearn; the paper's values are not public, so every default is our choice.

    clusters: "auto" (chosen without labels), one number for both sides, or (forget, retain)
    epochs: passes over the forget set; each batch of it is joined by a random retain batch
    tau: epochs between renewals of the forget centroids from the student; 0 never renews
    temperature: of the contrastive terms
    batch_size: (forget, retain); cut to the sets' sizes
    weights: of the loss terms; those not named keep the objective's defaults
    batchnorm: "train" normalises by the mixed batch and takes the statistics anew at the end,
        "frozen" keeps the teacher's
    clip: largest norm of the gradient
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
        if self.batchnorm not in ("train", "frozen"):
            raise ValueError(f"batchnorm={self.batchnorm!r}; it is 'train' or 'frozen'")
        if self.amp not in (False, True, "bfloat16", "float16"):
            raise ValueError(f"amp={self.amp!r}; it is False, True, 'bfloat16' or 'float16'")
        if isinstance(self.clusters, str) and self.clusters != "auto":
            raise ValueError(f"clusters={self.clusters!r}; it is 'auto', a number or two numbers")
        if not isinstance(self.clusters, str):
            try:
                numbers = tuple(map(operator.index, np.atleast_1d(self.clusters).tolist()))
            except TypeError:
                numbers = ()
            if len(numbers) not in (1, 2):
                raise ValueError(f"clusters={self.clusters!r}; it is 'auto', a number or two")
            object.__setattr__(self, "clusters", numbers[0] if len(numbers) == 1 else numbers)
        plain = {  # numpy's numbers and YAML's lists too: a checkpoint holds only Python's own
            "batch_size": tuple(map(operator.index, self.batch_size)),
            "weights": {name: float(weight) for name, weight in self.weights.items()},
            **{
                n: operator.index(getattr(self, n))
                for n in ("epochs", "tau", "seed", "check_every")
            },
            **{n: float(getattr(self, n)) for n in ("temperature", "learning_rate", "clip")},
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)
        for name in ("epochs", "temperature", "learning_rate", "clip", "check_every"):
            if not getattr(self, name) > 0:  # NaN too
                raise ValueError(f"{name}={getattr(self, name)}; it must be above 0")
        if self.tau < 0 or min(self.batch_size) < 1:
            raise ValueError(f"tau={self.tau} and batch_size={self.batch_size}: none is negative")

    def _repr_html_(self) -> str:
        values, defaults = vars(self), vars(CureConfig())
        changed = frozenset(name for name in values if values[name] != defaults[name])
        return table("CureConfig (bold: not the default)", values, changed)
