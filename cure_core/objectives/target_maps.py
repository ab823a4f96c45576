"""Where each forget cluster is sent: CURE's farthest map, and alternatives for ablations."""

from collections.abc import Callable

import torch
from torch import Tensor

from cure_core.clustering import farthest_centroid
from cure_core.objectives.pseudo_labels import other_classes


def _nearest(centroids: Tensor, seed: int) -> Tensor:
    """The nearest other cluster: the smallest move that changes a sample's cluster."""
    return _distances(centroids).argmin(1)


def _random(centroids: Tensor, seed: int) -> Tensor:
    """Any other cluster; it depends on the seed and the number of clusters alone."""
    count = len(centroids)
    return other_classes(torch.arange(count, device=centroids.device), count, seed)


def _one_to_one(centroids: Tensor, seed: int) -> Tensor:
    """The permutation without a fixed point that has the largest total distance."""
    from scipy.optimize import linear_sum_assignment

    distances = _distances(centroids).double().cpu()
    cost = torch.where(distances.isinf(), distances, -distances)
    return torch.as_tensor(linear_sum_assignment(cost.numpy())[1]).to(centroids.device)


def _distances(centroids: Tensor) -> Tensor:
    """Between all pairs, (K, K); infinite to itself."""
    return torch.cdist(centroids, centroids).fill_diagonal_(torch.inf)


# (centroids (K, D) with K >= 2, seed) -> for each the one its samples are sent to, another: (K,)
TARGET_MAPS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "farthest": lambda centroids, seed: farthest_centroid(centroids),
    "random": _random,
    "nearest": _nearest,
    "one_to_one": _one_to_one,
}
