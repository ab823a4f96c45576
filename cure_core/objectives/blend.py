"""Blending in: the forgotten become people that the student has never seen."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from cure_core.checks import NOT_NEGATIVE, POSITIVE, real, setting
from cure_core.cluster_count import choose_clusters
from cure_core.clustering import kmeans
from cure_core.losses import margin_contrastive_loss
from cure_core.objectives.base import Batch, Setup
from cure_core.objectives.redistil import Redistil


@dataclass(eq=False, kw_only=True)
class Blend(Redistil):
    """The retain set is learned again, from the teacher's embeddings and from its clusters.

    Distillation alone may also copy how the teacher treats people that only it has seen. The
    clusters of the retain set, taken for people, train the student as a retrained encoder is
    trained, by ArcFace with their centroids for a head; the teacher's embeddings keep it in the
    same space. On SynthFaces the clusters made no significant difference (docs/blending.md).
    Goal: a student that has never seen the forgotten, not one that no longer recognises them.
    Source: ours; `Redistil` with the loss of ArcFace (arXiv:1801.07698) on pseudo-labels.
    """

    weights: ClassVar[dict[str, float]] = {"matching": 1.0, "clusters": 0.1}

    scale: float = setting(32.0, real, *POSITIVE)
    margin: float = setting(0.2, real, *NOT_NEGATIVE)

    def check_sizes(self, forget: int, retain: int) -> None:
        """Raise ValueError for more clusters than the retain set has images."""
        if (count := self._count()) is not None and count > retain:
            raise ValueError(
                f"clusters={count} for the retain set of {retain} images; ask for at most {retain}"
            )

    def start(self, setup: Setup) -> None:
        x, seed = setup.retain_views[0], self.config.seed
        found = kmeans(x, self._count() or choose_clusters(x, seed=seed).k, seed=seed)
        self.centroids, self.labels = found.centroids, found.labels
        super().start(setup)

    def _count(self) -> int | None:
        """The number of retain clusters; None if it is to be chosen."""
        clusters = self.config.clusters
        if isinstance(clusters, str):
            return None
        return clusters if isinstance(clusters, int) else clusters[1]

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        labels = self.labels[batch.retain_index]
        return {
            **super().terms(batch),
            "clusters": margin_contrastive_loss(
                batch.student_retain, self.centroids, labels, self.scale, self.margin
            ),
        }

    def summary(self) -> dict[str, float]:
        return {"clusters_retain": len(self.centroids)}
