"""CURE with another forget side: clusters are dispersed, not moved."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cure_core.cluster_count import FEWEST_DISTINCT, choose_clusters
from cure_core.losses import cosine_forgetting_loss, dispersion_loss
from cure_core.objectives.base import Batch, Setup
from cure_core.objectives.cure import Cure
from cure_core.objectives.pseudo_labels import LABELLERS, Clusters


@dataclass(eq=False, kw_only=True)
class CurePlus(Cure):
    """The members of a forget cluster move apart; the retain side is CURE's.

    CURE sends a whole cluster to the farthest centroid, and what moves together stays together: its
    images still match each other. Here each image moves away from the other images of its cluster,
    wherever they are by now: a memory holds the student's last embedding of every forget sample.
    The clusters stay the teacher's, since a student that forgets has none. With clusters="auto", a
    forget set of fewer than four distinct images is one cluster: too few to choose a number.
    Source: ours; CURE (arXiv:2509.19562) with the idea of dispersion (arXiv:2512.13317).
    """

    weights: ClassVar[dict[str, float]] = {
        "cosine": 1.0,
        "dispersion": 10.0,
        "contrastive_retain": 1.0,
        "matching": 30.0,
        "distribution": 0.0,
    }

    def start(self, setup: Setup) -> None:
        super().start(setup)
        self.memory = setup.forget_views[0].clone()

    def cluster(self, setup: Setup, labeller: str = "kmeans") -> tuple[Clusters, Clusters]:
        forget, retain = setup.forget_views[0], setup.retain_views[0]
        if self.config.clusters != "auto" or len(torch.unique(forget, dim=0)) >= FEWEST_DISTINCT:
            return super().cluster(setup, labeller)
        seed = self.config.seed
        clusters = LABELLERS[labeller](retain, choose_clusters(retain, seed=seed).k, seed)
        together = torch.zeros(len(forget), dtype=torch.int64, device=forget.device)
        return (forget.mean(0, keepdim=True), together), clusters

    def _set_forget_targets(self, centroids: Tensor, labels: Tensor) -> None:
        self.forget_centroids, self.forget_labels = centroids, labels

    def begin_epoch(self, epoch: int, student_forget: Callable[[], Tensor]) -> None:
        """Nothing to update: the memory follows the student step by step."""

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        index = batch.forget_index
        same_cluster = self.forget_labels[index][:, None] == self.forget_labels
        others = same_cluster.scatter(1, index[:, None], False)  # not the sample itself
        dispersion = dispersion_loss(
            batch.student_forget, self.memory, others, self.config.temperature
        )
        self.memory = self.memory.index_copy(0, index, batch.student_forget.detach())
        return {
            "cosine": cosine_forgetting_loss(batch.student_forget, batch.teacher_forget),
            **self.retain_terms(batch),
            "dispersion": dispersion,
        }
