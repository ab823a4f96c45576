"""SCRUB: diverge from the teacher on forget samples, stay close to it on retain samples."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from cure_core.checks import SHARE, real, setting
from cure_core.objectives.base import Batch
from cure_core.objectives.classified import Classified


@dataclass(eq=False, kw_only=True)
class Scrub(Classified):
    """Forget samples leave the teacher's class distribution, retain samples keep it.

    d(x) = KL(teacher || student) between softmax distributions over classes is maximised on forget
    samples in the first `ascent` (a share) of the epochs, and minimised on retain samples in all,
    together with the retain samples' classification loss.
    Without labels: the classes are K-means clusters, the head the fixed centroids. Other changes:
    the source alternates ascent on forget samples and descent on retain samples, here each step
    does both; it can rewind to a checkpoint afterwards (SCRUB+R), here not. Like CURE's cosine, d
    has no gradient where student = teacher; the classification term makes the first move.
    Source: Kurmanji et al. (arXiv:2302.09880); the weights and `ascent` are our choice.
    """

    weights: ClassVar[dict[str, float]] = {
        "forget_divergence": 1.0,
        "retain_divergence": 1.0,
        "retain": 1.0,
    }

    ascent: float = setting(0.6, real, *SHARE)

    def begin_epoch(self, epoch: int, student_forget: Callable[[], Tensor]) -> None:
        self.ascending = epoch < self.ascent * self.config.epochs

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        forget = -self._divergence(batch.student_forget, batch.teacher_forget)
        classes = self.retain_classes[batch.retain_index]
        return {
            # After the ascent the term is only logged.
            "forget_divergence": forget if self.ascending else forget.detach(),
            "retain_divergence": self._divergence(batch.student_retain, batch.teacher_retain),
            "retain": self.cross_entropy(batch.student_retain, classes),
        }

    def _divergence(self, student: Tensor, teacher: Tensor) -> Tensor:
        """KL(teacher || student) over the classes, (B,), in nats."""
        student_log, teacher_log = (
            F.log_softmax(x @ self.centroids.T / self.config.temperature, dim=1)
            for x in (student, teacher)
        )
        return F.kl_div(student_log, teacher_log, reduction="none", log_target=True).sum(1)
