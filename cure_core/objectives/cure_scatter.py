"""`cure_plus` with a random target for every forget image."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cure_core.checks import POSITIVE, real, setting
from cure_core.losses import centroid_contrastive_loss
from cure_core.objectives.base import Batch, Setup
from cure_core.objectives.cure_plus import CurePlus
from cure_core.objectives.pseudo_labels import other_classes


@dataclass(eq=False, kw_only=True)
class CureScatter(CurePlus):
    """Each forget image is also pulled to a random cluster, of either side, other than its own.

    The targets of random relabelling added to `cure_plus`: they are drawn once and for each image,
    so that a cluster is scattered. `scatter_temperature` is that of their term.
    Source: ours; `cure_plus` with the targets of amnesiac unlearning (arXiv:2010.10981).
    """

    weights: ClassVar[dict[str, float]] = {**CurePlus.weights, "scatter": 1.0}

    scatter_temperature: float = setting(0.3, real, *POSITIVE)

    def start(self, setup: Setup) -> None:
        super().start(setup)
        self.centroids = torch.cat([self.forget_centroids, self.retain_centroids])
        self.scatter_targets = other_classes(
            self.forget_labels, len(self.centroids), self.config.seed
        )

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        targets = self.scatter_targets[batch.forget_index]
        scatter = centroid_contrastive_loss(
            batch.student_forget, self.centroids, targets, self.scatter_temperature
        )
        return {**super().terms(batch), "scatter": scatter}
