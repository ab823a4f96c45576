"""What the loop asks of an objective."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from cure_core.config import CureConfig
from cure_core.embedding import Images
from cure_core.files import digest


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


@dataclass(frozen=True)
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

    def start(self, setup: Setup) -> None:
        """Prepare from the teacher; may change `setup.student`."""

    def begin_epoch(self, epoch: int, student_forget: Callable[[], Tensor]) -> None:
        """Called before each epoch, from 0; `student_forget()` embeds the forget set, (N, D)."""

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """The loss terms by name: each per sample (B,) or a scalar."""
        raise NotImplementedError

    def facts(self) -> dict[str, float]:
        """What a reader should know of the choices made, by name."""
        return {}

    def described(self) -> str:
        """The class, and the settings that are not its defaults, arrays by their digests."""
        chosen = []
        for setting in fields(self)[1:]:  # all but the config
            value = getattr(self, setting.name)
            if not isinstance(value, str | int | float):
                value = digest(np.asarray(value))
            if value != setting.default:
                chosen.append(f"{setting.name}={value!r}")
        name = type(self).__name__
        return f"{name}({', '.join(chosen)})" if chosen else name

    def state(self) -> dict[str, Any]:
        """What `start` and `begin_epoch` made, for a checkpoint: every tensor and number held."""
        settings = {setting.name for setting in fields(self)}
        made = {name: value for name, value in vars(self).items() if name not in settings}
        return {name: v for name, v in made.items() if isinstance(v, Tensor | int | float)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        for name, value in state.items():
            setattr(self, name, value)
