"""What the loop asks of an objective."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from cure_core.config import CureConfig


@dataclass(frozen=True)
class Batch:
    """One step's embeddings, L2-normalised (B, D), and which samples they are, int64 (B,)."""

    student_forget: Tensor
    student_retain: Tensor
    teacher_forget: Tensor
    teacher_retain: Tensor
    forget_index: Tensor
    retain_index: Tensor


class Objective:
    """A method's loss. It knows nothing of optimisers, devices, files or progress bars.

    `weights` names its terms with their default weights; the loop minimises the weighted sum of
    their means.
    """

    weights: ClassVar[dict[str, float]]

    def __init__(self, config: CureConfig) -> None:
        self.config = config

    def start(self, forget: Tensor, retain: Tensor) -> None:
        """Prepare from the teacher's embeddings of both sets, (Nf, D) and (Nr, D)."""

    def refresh(self, student_forget: Callable[[], Tensor]) -> None:
        """Renew what follows the student; called every tau epochs but not before the first."""

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """The loss terms by name: each per sample (B,) or a scalar."""
        raise NotImplementedError

    def facts(self) -> dict[str, float]:
        """What a reader should know of the choices made, by name."""
        return {}

    def state(self) -> dict[str, Tensor]:
        """Everything that `start` and `refresh` made, for a checkpoint."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` gave."""
