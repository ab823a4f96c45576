"""How the clusters of the forget set move while the student unlearns."""

from collections.abc import Callable

import torch
from torch import nn

from cure_core.clustering import farthest_centroid, kmeans
from cure_core.encoders.embedding import embed
from cure_core.encoders.images import Images
from cure_core.objectives.pseudo_labels import recluster

# The values of `watch_drift`'s callback, in its order.
DRIFT = ("step", "from_start", "spread", "moved_cluster", "moved_target", "changes")


def watch_drift(
    teacher: nn.Module, forget: Images, n_clusters: int, seed: int = 0
) -> Callable[[nn.Module], dict[str, float]]:
    """An `on_epoch` callback for `unlearn` that clusters the student's embeddings every epoch.

    It repeats what CURE does between epochs with `tau=1`: K-means on the student's embeddings,
    started from the previous centroids. Each call returns, over clusters, the mean distance that a
    centroid moved since the last epoch (`step`) and since the teacher (`from_start`), and the mean
    distance between centroids (`spread`); over samples, the shares whose cluster (`moved_cluster`)
    and whose target, the farthest cluster (`moved_target`), changed since the last epoch, and the
    mean number of changes of target so far (`changes`).
    A call raises UnlearningDivergedError if the student has collapsed.
    """
    start = previous = kmeans(embed(teacher, forget), n_clusters, seed=seed)
    changes = torch.zeros(len(start.labels))

    def on_epoch(student: nn.Module) -> dict[str, float]:
        nonlocal previous, changes
        current = recluster(embed(student, forget), previous.centroids)
        before, after = (farthest_centroid(c.centroids)[c.labels] for c in (previous, current))
        changes = changes + (after != before)
        values = {
            "step": (current.centroids - previous.centroids).norm(dim=1).mean(),
            "from_start": (current.centroids - start.centroids).norm(dim=1).mean(),
            "spread": torch.pdist(current.centroids).mean(),
            "moved_cluster": (current.labels != previous.labels).float().mean(),
            "moved_target": (after != before).float().mean(),
            "changes": changes.mean(),
        }
        previous = current
        return {name: float(value) for name, value in values.items()}

    return on_epoch
