"""The interface between the unlearning loop and a method's loss."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from cure_core.checks import check_settings
from cure_core.config import CureConfig
from cure_core.encoders.images import Images
from cure_core.files import digest
from cure_core.training.loop import DivergedError


class UnlearningDivergedError(DivergedError):
    """The student's embeddings are not finite, or have collapsed to too few distinct ones.

    An objective raises it with a message; `unlearn` adds the last good `student` and its `history`.
    """

    def __init__(
        self, message: str, student: nn.Module | None = None, history: pd.DataFrame | None = None
    ) -> None:
        super().__init__(message)
        self.student, self.history = student, history


@dataclass(frozen=True, eq=False)
class Setup:
    """What an objective can start from.

    `student` is a copy of the teacher, which will be changed; `forget` and `retain` are the images;
    `forget_views` and `retain_views` are the teacher's embeddings of them and of their mirror
    images, (2, N, D), L2-normalised, on `device`.
    """

    student: nn.Module
    forget: Images
    retain: Images
    forget_views: Tensor
    retain_views: Tensor
    device: torch.device


@dataclass(frozen=True, eq=False)
class Batch:
    """One step's embeddings, L2-normalised (B, D), and the indices of the samples, int64 (B,).

    `forget_view` and `retain_view`, int64 (B,), are 1 for mirror images. The forget side is empty,
    B = 0, for a method that shows no forget image.
    """

    student_forget: Tensor
    student_retain: Tensor
    teacher_forget: Tensor
    teacher_retain: Tensor
    forget_index: Tensor
    retain_index: Tensor
    forget_view: Tensor
    retain_view: Tensor


@dataclass(eq=False)
class Objective:
    """A method's loss. It knows nothing of optimisers, files or progress bars.

    `weights` names its terms with their default weights; the loop minimises the weighted sum of
    their means. A method without terms takes no step: all its work is in `start`. The dataclass
    fields of a subclass are its settings, made by `checks.setting`; a value that is not accepted
    raises ValueError. A checkpoint is resumed only with the same settings.
    `shows_forget` is False for a method that trains on the retain set alone: an epoch is a pass
    over it. `learning_rate` takes the place of a config's "auto".
    """

    weights: ClassVar[dict[str, float]] = {}
    shows_forget: ClassVar[bool] = True
    learning_rate: ClassVar[float] = 5e-4

    config: CureConfig

    def __post_init__(self) -> None:
        check_settings(self)
        self.config = self.filled_in(self.config)

    @classmethod
    def filled_in(cls, config: CureConfig) -> CureConfig:
        """`config` with the method's own learning rate where it says "auto"."""
        automatic = config.learning_rate == "auto"
        return replace(config, learning_rate=cls.learning_rate) if automatic else config

    @classmethod
    def passes(cls, config: CureConfig) -> int:
        """Epochs: passes over the forget set, or over the retain set if that alone is shown."""
        return config.epochs if cls.shows_forget else config.retain_epochs

    def check_sizes(self, forget: int, retain: int) -> None:
        """Raise ValueError if the sets are too small; called before any work."""

    def start(self, setup: Setup) -> None:
        """Prepare from the teacher; may change `setup.student`."""

    def schedule(self, optimiser: Optimizer, steps: int) -> LRScheduler | None:
        """What changes the learning rate over all `steps`; None keeps it."""
        return None

    def begin_epoch(self, epoch: int, student_forget: Callable[[], Tensor]) -> None:
        """Called before each epoch, from 0; `student_forget()` embeds the forget set, (N, D).

        Raises UnlearningDivergedError if the student has collapsed.
        """

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """The loss terms by name: each per sample (B,) or a scalar."""
        raise NotImplementedError

    def summary(self) -> dict[str, float]:
        """Choices made in `start`, by name, for the result of `unlearn`."""
        return {}

    def described(self) -> str:
        """The class and the settings that are not its defaults, arrays by their digests."""
        changed = []
        for item in fields(self)[1:]:  # all but the config
            value = getattr(self, item.name)
            if value is not None and not isinstance(value, str | int | float):
                value = np.asarray(value)
                if value.dtype == object:
                    raise ValueError(f"{item.name}={value}; it is a number, text or array of them")
                value = digest(value)
            if value != item.default:
                changed.append(f"{item.name}={value!r}")
        name = type(self).__name__
        return f"{name}({', '.join(changed)})" if changed else name

    def state_dict(self) -> dict[str, Any]:
        """What `start` and `begin_epoch` made, for a checkpoint: every attribute but the settings.

        Raises ValueError that names an attribute which a checkpoint cannot hold, such as a module;
        an objective with one overrides `state_dict` and `load_state_dict`, as `Laf` does.
        """
        settings = {item.name for item in fields(self)}
        return {
            name: _plain(f"{type(self).__name__}.{name}", value)
            for name, value in vars(self).items()
            if name not in settings
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name, value in state.items():
            setattr(self, name, value)


def _plain(name: str, value: Any) -> Any:
    """`value` in types that `torch.load` reads without unpickling code."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Tensor) or type(value) in (type(None), bool, int, float, str):
        return value
    if type(value) in (list, tuple):
        return type(value)(_plain(f"{name}[{i}]", item) for i, item in enumerate(value))
    if type(value) is dict:
        return {
            _plain(f"a key of {name}", k): _plain(f"{name}[{k!r}]", v) for k, v in value.items()
        }
    raise ValueError(
        f"{name} is a {type(value).__name__}, which a checkpoint cannot hold: keep tensors, "
        "numbers, text, lists, tuples or dicts, or override state_dict() and load_state_dict()"
    )
