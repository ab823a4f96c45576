"""Where each cluster of the forget side is sent: CURE's farthest map, and others beside it."""

from collections.abc import Callable

import torch
from torch import Tensor

from cure_core.clustering import farthest_centroid


def cluster_targets(centroids: Tensor, target_map: str, seed: int) -> Tensor:
    """For each of the centroids (K, D), K >= 2, the one its samples are sent to: int64 (K,).

    `target_map` is one of `TARGET_MAPS`. No cluster is sent to itself.
    """
    return TARGET_MAPS[target_map](centroids, seed)


def _farthest(centroids: Tensor, seed: int) -> Tensor:
    return farthest_centroid(centroids)


def _nearest(centroids: Tensor, seed: int) -> Tensor:
    """The nearest other cluster: the least a sample can be moved to change its cluster."""
    return _distances(centroids).argmin(1)


def _random(centroids: Tensor, seed: int) -> Tensor:
    """Any other cluster; the same one whenever the seed and the number of clusters are."""
    count = len(centroids)
    generator = torch.Generator().manual_seed(seed)
    shift = torch.randint(1, count, (count,), generator=generator)
    return ((torch.arange(count) + shift) % count).to(centroids.device)


def _one_to_one(centroids: Tensor, seed: int) -> Tensor:
    """The permutation of largest total distance that keeps none in place: none is sent to twice."""
    from scipy.optimize import linear_sum_assignment

    distances = _distances(centroids).double().cpu()
    cost = torch.where(distances.isinf(), distances, -distances)
    return torch.as_tensor(linear_sum_assignment(cost.numpy())[1]).to(centroids.device)


def _distances(centroids: Tensor) -> Tensor:
    """Between all pairs, (K, K); infinite to itself."""
    return torch.cdist(centroids, centroids).fill_diagonal_(torch.inf)


TARGET_MAPS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "farthest": _farthest,
    "random": _random,
    "nearest": _nearest,
    "one_to_one": _one_to_one,
}
