"""SCRUB: disobey the teacher on forget samples, obey it on retain samples."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from cure_core.objectives.base import Batch
from cure_core.objectives.pseudo_labels import PseudoLabelled


@dataclass(eq=False, kw_only=True)
class Scrub(PseudoLabelled):
    """Forget samples leave the teacher's class distribution, retain samples keep it.

    d(x) = KL(teacher || student) between softmax distributions over classes: raised on forget
    samples in the first `ascent` of the epochs, lowered on retain samples in all, beside the retain
    samples' classification loss.
    Without labels: the classes are K-means clusters, the head the fixed centroids. Other changes:
    the source goes up on forget samples and down on retain samples in turns, here both are one
    step; it can rewind to a checkpoint afterwards (SCRUB+R), here not. Like CURE's cosine, d has no
    gradient where student = teacher; the classification term makes the first move.
    Raises ValueError for an `ascent` outside [0, 1].
    Source: Kurmanji et al. (arXiv:2302.09880); the weights and `ascent`, a share, are our choice.
    """

    weights: ClassVar[dict[str, float]] = {
        "forget_divergence": 1.0,
        "retain_divergence": 1.0,
        "retain": 1.0,
    }

    ascent: float = 0.6

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_range("ascent", 0, 1)

    def begin_epoch(self, epoch: int, student_forget: Callable[[], Tensor]) -> None:
        self.ascending = epoch < self.ascent * self.config.epochs

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        forget = -self._divergence(batch.student_forget, batch.teacher_forget)
        classes = self.retain_classes[batch.retain_index]
        return {
            # Later on it is watched, not followed.
            "forget_divergence": forget if self.ascending else forget.detach(),
            "retain_divergence": self._divergence(batch.student_retain, batch.teacher_retain),
            "retain": self.cross_entropy(batch.student_retain, classes),
        }

    def _divergence(self, student: Tensor, teacher: Tensor) -> Tensor:
        """KL(teacher || student) over the classes, (B,), in nats."""
        ours, theirs = (
            F.log_softmax(x @ self.centroids.T / self.config.temperature, dim=1)
            for x in (student, teacher)
        )
        return F.kl_div(ours, theirs, reduction="none", log_target=True).sum(1)
