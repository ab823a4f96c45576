"""Random relabelling: forget samples are taught a wrong class."""

from typing import ClassVar

import torch
from torch import Tensor

from cure_core.objectives.base import Batch, Setup
from cure_core.objectives.pseudo_labels import PseudoLabelled


class RandomRelabel(PseudoLabelled):
    """Each forget sample is drawn to a random class not its own, retain samples to their own.

    Without labels: the classes are K-means clusters of both sides; the wrong one is drawn once, a
    sample at a time, so that a cluster is scattered.
    Source: amnesiac unlearning, Graves et al. (arXiv:2010.10981).
    """

    weights: ClassVar[dict[str, float]] = {"forget": 1.0, "retain": 1.0}

    def start(self, setup: Setup) -> None:
        super().start(setup)
        count, own = len(self.centroids), self.forget_classes
        generator = torch.Generator().manual_seed(self.config.seed)
        shift = torch.randint(1, count, (len(own),), generator=generator).to(own.device)
        self.forget_targets = (own + shift) % count

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        targets = self.forget_targets[batch.forget_index]
        classes = self.retain_classes[batch.retain_index]
        return {
            "forget": self.cross_entropy(batch.student_forget, targets),
            "retain": self.cross_entropy(batch.student_retain, classes),
        }
