"""CURE with its forget side turned round: clusters are dispersed, not moved."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from cure_core.losses import dispersion_loss
from cure_core.objectives.base import Batch, Setup
from cure_core.objectives.cure import Cure


@dataclass(eq=False, kw_only=True)
class CurePlus(Cure):
    """The members of a forget cluster part from each other; the retain side is CURE's.

    CURE sends a cluster to the farthest centroid as one, and what moves together stays together:
    its pictures still match each other. Here each picture leaves the pictures of its own cluster,
    wherever they are by now: a memory holds the student's last embedding of every forget sample.
    The clusters are the teacher's throughout, since a student that forgets has none.
    Source: ours; CURE (arXiv:2509.19562) with the idea of dispersion (arXiv:2512.13317).
    """

    weights: ClassVar[dict[str, float]] = {
        "cosine": 1.0,
        "dispersion": 10.0,
        "contrastive_retain": 1.0,
        "matching": 30.0,
        "distribution": 0.0,
    }

    def start(self, setup: Setup) -> None:
        super().start(setup)
        self.memory = setup.forget_views[0].clone()

    def begin_epoch(self, epoch: int, student_forget: Callable[[], Tensor]) -> None:
        """Nothing to renew: the memory follows the student step by step."""

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        own = batch.forget_index
        mates = self.forget_labels[own][:, None] == self.forget_labels
        mates = mates.scatter(1, own[:, None], False)  # nobody is their own mate
        dispersion = dispersion_loss(
            batch.student_forget, self.memory, mates, self.config.temperature
        )
        self.memory = self.memory.index_copy(0, own, batch.student_forget.detach())
        return {**super().terms(batch), "dispersion": dispersion}
