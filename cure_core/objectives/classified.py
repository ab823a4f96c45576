"""A base for methods written for a classifier."""

import torch
from torch import Tensor

from cure_core.losses import centroid_contrastive_loss
from cure_core.objectives.base import Setup
from cure_core.objectives.pseudo_labels import Clustered


class Classified(Clustered):
    """Clusters take the place of classes, their centroids that of a classifier's last layer.

    The centroids of both sides together are the head, and do not change. The logit of a class is
    the dot product with its centroid, a mean of unit embeddings, over `config.temperature`. A
    trained head would follow the student; a fixed one makes the encoder forget (our choice).
    """

    def start(self, setup: Setup) -> None:
        self.centroids, self.forget_classes, self.retain_classes = self.classes(setup)

    def classes(self, setup: Setup) -> tuple[Tensor, Tensor, Tensor]:
        """The head (K, D), and each sample's class, (Nf,) and (Nr,), int64 in [0, K)."""
        (forget_centroids, forget), (retain_centroids, retain) = self.cluster(setup)
        centroids = torch.cat([forget_centroids, retain_centroids])
        return centroids, forget, retain + len(forget_centroids)

    def cross_entropy(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        """A classifier's loss (B,) of unit embeddings (B, D), in nats."""
        return centroid_contrastive_loss(
            embeddings, self.centroids, classes, self.config.temperature
        )

    def summary(self) -> dict[str, float]:
        return {
            "clusters_forget": len(self.forget_classes.unique()),
            "clusters_retain": len(self.retain_classes.unique()),
        }
