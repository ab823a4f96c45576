"""Random relabelling: forget samples learn a wrong class."""

from typing import ClassVar

from torch import Tensor

from cure_core.objectives.base import Batch, Setup
from cure_core.objectives.classified import Classified
from cure_core.objectives.pseudo_labels import other_classes


class RandomRelabel(Classified):
    """Each forget sample is trained towards a random other class, retain samples towards theirs.

    Without labels: the classes are K-means clusters of both sides; the wrong one is drawn once and
    for each sample, so that a cluster is scattered.
    Source: amnesiac unlearning, Graves et al. (arXiv:2010.10981).
    """

    weights: ClassVar[dict[str, float]] = {"forget": 1.0, "retain": 1.0}

    def start(self, setup: Setup) -> None:
        super().start(setup)
        n_classes, seed = len(self.centroids), self.config.seed
        self.forget_targets = other_classes(self.forget_classes, n_classes, seed)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        targets = self.forget_targets[batch.forget_index]
        classes = self.retain_classes[batch.retain_index]
        return {
            "forget": self.cross_entropy(batch.student_forget, targets),
            "retain": self.cross_entropy(batch.student_retain, classes),
        }
