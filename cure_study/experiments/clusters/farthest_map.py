"""Where each cluster of the forget side is sent, and how many are sent to the same one."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cure_core.objectives.target_maps import TARGET_MAPS

SHOWN = ("farthest", "one_to_one")


def target_maps(centroids: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """The farthest map and the one-to-one assignment of centroids (K, D): each int64 (K,)."""
    return {name: TARGET_MAPS[name](centroids, seed) for name in SHOWN}


def map_table(centroids: Tensor, maps: Mapping[str, Tensor]) -> pd.DataFrame:
    """A row for each pair of different clusters: cluster, target, distance, and which maps use it.

    Clusters are numbered anew by how many others the first map sends to them, most first.
    """
    first = next(iter(maps.values()))
    drawn = first.bincount(minlength=len(centroids))
    order = torch.argsort(drawn, descending=True, stable=True)
    place = torch.argsort(order)
    distance = torch.cdist(centroids, centroids)[order][:, order]
    cluster, target = np.nonzero(~np.eye(len(order), dtype=bool))
    columns = {
        name: place[targets[order]].numpy()[cluster] == target for name, targets in maps.items()
    }
    return pd.DataFrame(
        {
            "cluster": cluster,
            "target": target,
            "distance": distance.double().numpy()[cluster, target].round(4),
        }
        | columns
    )


def hubness(centroids: Tensor, targets: Tensor, labels: Tensor) -> dict[str, float]:
    """How far a map (K,) collapses clusters onto few targets; labels (N,) say who is where.

    targets used: of the K; clusters on one target: the most that share one; share of samples on
    one target: the largest such; mean distance: from a sample's centroid to its target.
    """
    distance = torch.cdist(centroids, centroids).gather(1, targets[:, None]).squeeze(1)
    samples = targets[labels].bincount(minlength=len(centroids))
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
        own = (labels == cluster).nonzero().flatten()
        own = own[distance[own].argsort(stable=True)]
        half = min(each, len(own) // 2)
        for kind, part in (("nearest", own[:half]), ("farthest", own.flip(0)[:half])):
            rows += [
                (cluster, kind, rank, int(i), float(distance[i])) for rank, i in enumerate(part)
            ]
    return pd.DataFrame(rows, columns=["cluster", "kind", "rank", "sample", "distance"])
