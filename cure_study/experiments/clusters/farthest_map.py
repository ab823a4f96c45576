"""Where each forget cluster is sent, and how many clusters are sent to the same target."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cure_core.objectives.target_maps import TARGET_MAPS


def target_maps(centroids: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """The farthest map and the one-to-one assignment of centroids (K, D): each int64 (K,)."""
    return {name: TARGET_MAPS[name](centroids, seed) for name in ("farthest", "one_to_one")}


def map_table(centroids: Tensor, maps: Mapping[str, Tensor]) -> pd.DataFrame:
    """A row for each pair of different clusters: cluster, target, distance, and which maps use it.

    Clusters are renumbered by how many others the first map sends to them, most first.
    """
    first = next(iter(maps.values()))
    order = first.bincount(minlength=len(centroids)).argsort(descending=True, stable=True)
    new_number = order.argsort()
    distance = torch.cdist(centroids, centroids)[order][:, order].double().numpy()
    cluster, target = np.nonzero(~np.eye(len(order), dtype=bool))
    table = pd.DataFrame(
        {"cluster": cluster, "target": target, "distance": distance[cluster, target].round(4)}
    )
    used = {
        name: new_number[targets[order]].numpy()[cluster] == target
        for name, targets in maps.items()
    }
    return table.assign(**used)


def hubness(centroids: Tensor, targets: Tensor, labels: Tensor) -> dict[str, float]:
    """How far a map (K,) sends many clusters to few targets; labels (N,) are the samples' clusters.

    targets used: of the K; clusters on one target: the most that share one; share of samples on
    one target: the largest such; mean distance: from a sample's centroid to its target.
    """
    distance = torch.cdist(centroids, centroids).gather(1, targets[:, None]).squeeze(1)
    samples = targets[labels].bincount()
    return {
        "targets used": int(targets.unique().numel()),
        "clusters on one target": int(targets.bincount().max()),
        "share of samples on one target": float(samples.max() / samples.sum()),
        "mean distance": float(distance[labels].mean()),
    }


def near_and_far(x: Tensor, centroids: Tensor, labels: Tensor, each: int = 4) -> pd.DataFrame:
    """The samples nearest to and farthest from each cluster's centroid.

    Shapes: x (N, D), centroids (K, D), labels (N,). Returns cluster, kind ("nearest" in rising,
    "farthest" in falling order), rank, sample (row of x), distance; no sample twice.
    """
    distance = (x - centroids[labels]).norm(dim=1)
    rows = []
    for cluster in range(len(centroids)):
        members = (labels == cluster).nonzero().flatten()
        members = members[distance[members].argsort(stable=True)]
        count = min(each, len(members) // 2)
        for kind, samples in (("nearest", members), ("farthest", members.flip(0))):
            rows += [
                (cluster, kind, rank, int(sample), float(distance[sample]))
                for rank, sample in enumerate(samples[:count])
            ]
    return pd.DataFrame(rows, columns=["cluster", "kind", "rank", "sample", "distance"])
