"""CURE's objective, and its ablations."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from cure_core.checks import one_of, setting
from cure_core.losses import (
    centroid_contrastive_loss,
    cosine_forgetting_loss,
    feature_distribution_loss,
    feature_matching_loss,
)
from cure_core.objectives.base import Batch, Setup
from cure_core.objectives.pseudo_labels import LABELLERS, Clustered, recluster
from cure_core.objectives.target_maps import TARGET_MAPS


@dataclass(eq=False, kw_only=True)
class Cure(Clustered):
    """Forget samples leave the teacher for the farthest cluster, retain samples stay in theirs.

    K-means clusters take the place of identities on both sides. The forget centroids follow the
    student, the retain centroids are the teacher's.
    Two settings are for ablations: `target_map` says where a forget cluster is sent, `labeller`
    what clusters both sides at the start.
    Source: CURE (arXiv:2509.19562); the weights are our choice. The distribution term's is 0, since
    it made no measurable difference (docs/comparison.md).
    """

    weights: ClassVar[dict[str, float]] = {
        "cosine": 1.0,
        "contrastive_forget": 1.0,
        "contrastive_retain": 1.0,
        "matching": 30.0,
        "distribution": 0.0,
    }

    target_map: str = setting("farthest", one_of, TARGET_MAPS)
    labeller: str = setting("kmeans", one_of, LABELLERS)

    def start(self, setup: Setup) -> None:
        forget, retain = self.cluster(setup, self.labeller)
        self.retain_centroids, self.retain_targets = retain
        self._set_forget_targets(*forget)

    def begin_epoch(self, epoch: int, student_forget: Callable[[], Tensor]) -> None:
        """Update the forget centroids every tau epochs, starting from where they were.

        By K-means for every labeller: on a student that moves, HDBSCAN would lose the clusters.
        """
        if epoch and self.config.tau and epoch % self.config.tau == 0:
            spherical = self.labeller == "spherical"
            result = recluster(student_forget(), self.forget_centroids, spherical)
            self._set_forget_targets(result.centroids, result.labels)

    def _set_forget_targets(self, centroids: Tensor, labels: Tensor) -> None:
        self.forget_centroids, self.forget_labels = centroids, labels
        self.forget_targets = TARGET_MAPS[self.target_map](centroids, self.config.seed)[labels]

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        targets = self.forget_targets[batch.forget_index]
        return {
            "cosine": cosine_forgetting_loss(batch.student_forget, batch.teacher_forget),
            "contrastive_forget": centroid_contrastive_loss(
                batch.student_forget, self.forget_centroids, targets, self.config.temperature
            ),
            **self.retain_terms(batch),
        }

    def retain_terms(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of the retain side."""
        targets = self.retain_targets[batch.retain_index]
        return {
            "contrastive_retain": centroid_contrastive_loss(
                batch.student_retain, self.retain_centroids, targets, self.config.temperature
            ),
            "matching": feature_matching_loss(batch.student_retain, batch.teacher_retain),
            "distribution": feature_distribution_loss(batch.student_retain, batch.teacher_retain),
        }

    def summary(self) -> dict[str, float]:
        return {
            "clusters_forget": len(self.forget_centroids),
            "clusters_retain": len(self.retain_centroids),
        }
