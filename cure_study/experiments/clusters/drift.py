"""How the clusters of the forget side move while the student unlearns."""

from collections.abc import Callable

import torch
from torch import nn

from cure_core.clustering import KMeansResult, farthest_centroid, kmeans
from cure_core.encoders.embedding import embed
from cure_core.encoders.images import Images
from cure_core.objectives.pseudo_labels import recluster

# What is watched, in the order of `watch_drift`'s description.
DRIFT = ("step", "from_start", "spread", "moved_cluster", "moved_target", "changes")


def watch_drift(
    teacher: nn.Module, forget: Images, n_clusters: int, seed: int = 0
) -> Callable[[nn.Module], dict[str, float]]:
    """What `unlearn` takes as `on_epoch`: the clusters renewed from the student after each epoch.

    It repeats what CURE does between epochs with `tau=1`: K-means on the student's embeddings from
    the centroids before. Each call gives, over clusters, the mean distance that a centroid moved
    since the last epoch (`step`) and since the teacher (`from_start`), and the mean distance
    between centroids (`wrap_ddp`); over samples, the shares whose cluster (`moved_cluster`) and
    whose farthest cluster, its target (`moved_target`), changed since the last epoch, and the mean
    number of changes of target so far (`changes`).
    A call raises UnlearningDivergedError where the student has collapsed.
    """
    first = kmeans(embed(teacher, forget), n_clusters, seed=seed)
    last = first
    changes = torch.zeros(len(first.labels))

    def on_epoch(student: nn.Module) -> dict[str, float]:
        nonlocal last, changes
        now = recluster(embed(student, forget), last.centroids)
        moved = _targets(now) != _targets(last)
        changes = changes + moved
        seen = {
            "step": (now.centroids - last.centroids).norm(dim=1).mean(),
            "from_start": (now.centroids - first.centroids).norm(dim=1).mean(),
            "spread": torch.pdist(now.centroids).mean(),
            "moved_cluster": (now.labels != last.labels).float().mean(),
            "moved_target": moved.float().mean(),
            "changes": changes.mean(),
        }
        last = now
        return {name: float(value) for name, value in seen.items()}

    return on_epoch


def _targets(clustering: KMeansResult) -> torch.Tensor:
    return farthest_centroid(clustering.centroids)[clustering.labels]
