"""CURE's own objective."""

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor

from cure_core.choose_k import resolve_clusters
from cure_core.clustering import farthest_centroid, kmeans
from cure_core.losses import (
    centroid_contrastive_loss,
    cosine_forgetting_loss,
    feature_distribution_loss,
    feature_matching_loss,
)
from cure_core.objectives.base import Batch, Objective


class Cure(Objective):
    """Forget samples leave the teacher for the farthest cluster, retain samples stay in theirs.

    Pseudo-labels by K-means take the place of identities on both sides. The forget centroids
    follow the student, the retain centroids are the teacher's.
    Source: CURE (arXiv:2509.19562); the weights are our choice.
    """

    weights: ClassVar[dict[str, float]] = {
        "cosine": 1.0,
        "contrastive_forget": 1.0,
        "contrastive_retain": 1.0,
        "matching": 30.0,
        "distribution": 0.0,
    }

    def start(self, forget: Tensor, retain: Tensor) -> None:
        seed = self.config.seed
        clusters = resolve_clusters(self.config.clusters, forget, retain, seed)
        self.retain_centroids, self.retain_targets = _clustered(retain, clusters[1], seed)
        self.forget_centroids, labels = _clustered(forget, clusters[0], seed)
        self.forget_targets = farthest_centroid(self.forget_centroids)[labels]

    def refresh(self, student_forget: Callable[[], Tensor]) -> None:
        start = self.forget_centroids
        result = kmeans(student_forget(), len(start), init=start)
        self.forget_centroids = result.centroids
        self.forget_targets = farthest_centroid(result.centroids)[result.labels]

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

    def facts(self) -> dict[str, float]:
        return {
            "clusters_forget": len(self.forget_centroids),
            "clusters_retain": len(self.retain_centroids),
        }

    def state(self) -> dict[str, Tensor]:
        names = ("retain_centroids", "retain_targets", "forget_centroids", "forget_targets")
        return {name: getattr(self, name) for name in names}

    def load_state(self, state: dict[str, Tensor]) -> None:
        for name, tensor in state.items():
            setattr(self, name, tensor)


def _clustered(embeddings: Tensor, clusters: int, seed: int) -> tuple[Tensor, Tensor]:
    result = kmeans(embeddings, clusters, seed=seed)
    return result.centroids, result.labels
