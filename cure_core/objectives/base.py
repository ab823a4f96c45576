"""What the loop asks of an objective."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from cure_core.config import CureConfig, real_number, whole_number
from cure_core.encoders.images import Images
from cure_core.files import digest


class UnlearningDivergedError(FloatingPointError):
    """The student is of no further use: not finite, or collapsed to too few distinct embeddings.

    An objective raises it with a message; `unlearn` adds `student` and `history`, the last good
    ones.
    """

    def __init__(
        self, message: str, student: nn.Module | None = None, history: pd.DataFrame | None = None
    ) -> None:
        super().__init__(message)
        self.student, self.history = student, history


@dataclass(frozen=True, eq=False)
class Setup:
    """What there is before the first step.

    `student`, still the teacher's copy, is the network that will be changed; `forget` and `retain`
    are the images; `forget_views` and `retain_views` are the teacher's embeddings of them as taken
    and mirrored, (2, N, D), L2-normalised, on `device`.
    """

    student: nn.Module
    forget: Images
    retain: Images
    forget_views: Tensor
    retain_views: Tensor
    device: torch.device


@dataclass(frozen=True, eq=False)
class Batch:
    """One step's embeddings, L2-normalised (B, D), and which samples they are, int64 (B,).

    `forget_view` and `retain_view`, int64 (B,), are 1 where the sample is seen mirrored.
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
    their means. A method without terms takes no step: all its work is in `start`. A subclass's
    dataclass fields are its settings, and a checkpoint is taken up only by the same settings.
    """

    weights: ClassVar[dict[str, float]] = {}

    config: CureConfig

    def __post_init__(self) -> None:
        """Raise ValueError for a setting out of range."""

    def _check_range(
        self, name: str, low: float, high: float = math.inf, whole: bool = False
    ) -> None:
        """Raise ValueError for a setting that is no number, or none from `low` to `high`."""
        value = getattr(self, name)
        try:
            number = whole_number(value) if whole else real_number(value)
        except TypeError:
            number = math.nan
        if not low <= number <= high or number == math.inf:  # NaN too
            kind = "whole number" if whole else "number"
            to = f"from {low} to {high}" if high < math.inf else f"of at least {low}"
            raise ValueError(f"{name}={value!r}; it is a {kind} {to}")

    def check_sizes(self, forget: int, retain: int) -> None:
        """Raise ValueError where sets of these sizes cannot serve; called before any work."""

    def start(self, setup: Setup) -> None:
        """Prepare from the teacher; may change `setup.student`."""

    def begin_epoch(self, epoch: int, student_forget: Callable[[], Tensor]) -> None:
        """Called before each epoch, from 0; `student_forget()` embeds the forget set, (N, D).

        Raises UnlearningDivergedError where the student has collapsed.
        """

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """The loss terms by name: each per sample (B,) or a scalar."""
        raise NotImplementedError

    def summary(self) -> dict[str, float]:
        """What a reader should know of the choices made, by name."""
        return {}

    def described(self) -> str:
        """The class, and the settings that are not its defaults, arrays by their digests."""
        chosen = []
        for setting in fields(self)[1:]:  # all but the config
            value = getattr(self, setting.name)
            if value is not None and not isinstance(value, str | int | float):
                value = digest(_settings_array(setting.name, value))
            if value != setting.default:
                chosen.append(f"{setting.name}={value!r}")
        name = type(self).__name__
        return f"{name}({', '.join(chosen)})" if chosen else name

    def state_dict(self) -> dict[str, Any]:
        """What `start` and `begin_epoch` made, for a checkpoint: every attribute but the settings.

        Raises ValueError that names an attribute which a checkpoint cannot hold, such as a module;
        an objective with one overrides `state_dict` and `load_state_dict`, as `Laf` does.
        """
        settings = {setting.name for setting in fields(self)}
        kind = type(self).__name__
        return {
            name: _plain(f"{kind}.{name}", value)
            for name, value in vars(self).items()
            if name not in settings
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name, value in state.items():
            setattr(self, name, value)


def _settings_array(name: str, value: object) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype == object:
        raise ValueError(
            f"the setting {name} is a {type(value).__name__}; a checkpoint is compared by its "
            "settings, which are numbers, text or arrays of them"
        )
    return array


def _plain(name: str, value: Any) -> Any:
    """`value` in types that are read back without unpickling code."""
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
