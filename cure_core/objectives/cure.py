"""CURE's own objective, and its ablations."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from cure_core.cluster_count import resolve_clusters
from cure_core.losses import (
    centroid_contrastive_loss,
    cosine_forgetting_loss,
    feature_distribution_loss,
    feature_matching_loss,
)
from cure_core.objectives.base import Batch, Objective, Setup
from cure_core.objectives.pseudo_labels import LABELLERS, check_clusters, pseudo_label, recluster
from cure_core.objectives.target_maps import TARGET_MAPS, cluster_targets


@dataclass(eq=False, kw_only=True)
class Cure(Objective):
    """Forget samples leave the teacher for the farthest cluster, retain samples stay in theirs.

    Pseudo-labels by K-means take the place of identities on both sides. The forget centroids
    follow the student, the retain centroids are the teacher's.
    The settings are for ablations: `target_map` (one of `TARGET_MAPS`) names where a forget
    cluster is sent, `labeller` (one of `LABELLERS`) what clusters both sides at the start; another
    name raises ValueError.
    Source: CURE (arXiv:2509.19562); the weights are our choice, the distribution term's 0 too: it
    gained nothing that could be told (docs/comparison.md).
    """

    weights: ClassVar[dict[str, float]] = {
        "cosine": 1.0,
        "contrastive_forget": 1.0,
        "contrastive_retain": 1.0,
        "matching": 30.0,
        "distribution": 0.0,
    }

    target_map: str = "farthest"
    labeller: str = "kmeans"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in (("target_map", TARGET_MAPS), ("labeller", LABELLERS)):
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"{name}={value!r}; there are {', '.join(known)}")

    def check_sizes(self, forget: int, retain: int) -> None:
        check_clusters(self.config.clusters, forget, retain)

    def start(self, setup: Setup) -> None:
        forget, retain, seed = setup.forget_views[0], setup.retain_views[0], self.config.seed
        clusters = resolve_clusters(self.config.clusters, forget, retain, seed)
        self.retain_centroids, self.retain_targets = pseudo_label(
            retain, clusters[1], seed, self.labeller
        )
        self._aim(*pseudo_label(forget, clusters[0], seed, self.labeller))

    def begin_epoch(self, epoch: int, student_forget: Callable[[], Tensor]) -> None:
        """Renew the forget centroids every tau epochs, from where they were.

        By K-means also where another labeller began: on a student that moves, HDBSCAN would lose
        the clusters it is to follow.
        """
        if epoch and self.config.tau and epoch % self.config.tau == 0:
            spherical = self.labeller == "spherical"
            result = recluster(student_forget(), self.forget_centroids, spherical)
            self._aim(result.centroids, result.labels)

    def _aim(self, centroids: Tensor, labels: Tensor) -> None:
        self.forget_centroids, self.forget_labels = centroids, labels
        self.forget_targets = cluster_targets(centroids, self.target_map, self.config.seed)[labels]

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        return {
            "cosine": cosine_forgetting_loss(batch.student_forget, batch.teacher_forget),
            "contrastive_forget": centroid_contrastive_loss(
                batch.student_forget,
                self.forget_centroids,
                self.forget_targets[batch.forget_index],
                self.config.temperature,
            ),
            "contrastive_retain": centroid_contrastive_loss(
                batch.student_retain,
                self.retain_centroids,
                self.retain_targets[batch.retain_index],
                self.config.temperature,
            ),
            "matching": feature_matching_loss(batch.student_retain, batch.teacher_retain),
            "distribution": feature_distribution_loss(batch.student_retain, batch.teacher_retain),
        }

    def summary(self) -> dict[str, float]:
        return {
            "clusters_forget": len(self.forget_centroids),
            "clusters_retain": len(self.retain_centroids),
        }
