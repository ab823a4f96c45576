"""`cure_plus` with a place to go for every picture: driven apart, and drawn apart."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cure_core.losses import centroid_contrastive_loss
from cure_core.objectives.base import Batch, Setup
from cure_core.objectives.cure_plus import CurePlus
from cure_core.objectives.pseudo_labels import other_classes


@dataclass(eq=False, kw_only=True)
class CureScatter(CurePlus):
    """Each forget picture is also drawn to a cluster, of either side, that is not its own.

    Random relabelling's targets beside `cure_plus`'s dispersion: the targets are drawn once, a
    picture at a time, so that a cluster is scattered. `scatter_temperature` is that of their term.
    Source: ours; `cure_plus` with the targets of amnesiac unlearning (arXiv:2010.10981).
    """

    weights: ClassVar[dict[str, float]] = {**CurePlus.weights, "scatter": 1.0}

    scatter_temperature: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_range("scatter_temperature", 1e-6)

    def start(self, setup: Setup) -> None:
        super().start(setup)
        self.head = torch.cat([self.forget_centroids, self.retain_centroids])
        self.places = other_classes(self.forget_labels, len(self.head), self.config.seed)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        places = self.places[batch.forget_index]
        scatter = centroid_contrastive_loss(
            batch.student_forget, self.head, places, self.scatter_temperature
        )
        return {**super().terms(batch), "scatter": scatter}
