"""Random relabelling: forget samples are taught a wrong class."""

from typing import ClassVar

from torch import Tensor

from cure_core.objectives.base import Batch, Setup
from cure_core.objectives.pseudo_labels import PseudoLabelled, other_classes


class RandomRelabel(PseudoLabelled):
    """Each forget sample is drawn to a random class not its own, retain samples to their own.

    Without labels: the classes are K-means clusters of both sides; the wrong one is drawn once, a
    sample at a time, so that a cluster is scattered.
    Source: amnesiac unlearning, Graves et al. (arXiv:2010.10981).
    """

    weights: ClassVar[dict[str, float]] = {"forget": 1.0, "retain": 1.0}

    def start(self, setup: Setup) -> None:
        super().start(setup)
        own, seed = self.forget_classes, self.config.seed
        self.forget_targets = other_classes(own, len(self.centroids), seed)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        targets = self.forget_targets[batch.forget_index]
        classes = self.retain_classes[batch.retain_index]
        return {
            "forget": self.cross_entropy(batch.student_forget, targets),
            "retain": self.cross_entropy(batch.student_retain, classes),
        }
