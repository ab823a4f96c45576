"""Choosing the number of clusters without labels."""

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from cure_core.clustering import KMeansResult, _rows_per_chunk, kmeans


@dataclass(frozen=True, eq=False, repr=False)
class ClusterChoice:
    """The number of clusters chosen, and the silhouette of every number tried (k, silhouette)."""

    k: int
    tried: pd.DataFrame

    def __repr__(self) -> str:
        best = self.tried.set_index("k").silhouette[self.k]
        return f"ClusterChoice(k={self.k}, silhouette={best:.3f}, of {len(self.tried)} tried)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClusterChoice):
            return NotImplemented
        return self.k == other.k and self.tried.equals(other.tried)

    def __hash__(self) -> int:
        return hash(self.k)


def silhouette(x: Tensor, clustering: KMeansResult, chunk: int = 4096) -> float:
    """Mean silhouette by centroids: (b - a) / max(a, b), in [-1, 1], higher is better.

    a is a sample's distance to the centroid of the *other* samples of its cluster, b to the next
    cluster's; a sample alone in its cluster counts 0, so that many tiny clusters do not win.
    O(N K) and in memory bounded by `chunk` samples and by the bytes of a chunk of K-means, where
    the classical silhouette is O(N^2).
    Shapes: x (N, D). Source: the simplified silhouette (Hruschka et al. 2004); leaving the sample
    out of its own centroid is our choice.
    """
    sizes = clustering.labels.bincount(minlength=len(clustering.centroids)).to(x.dtype)
    total = x.new_zeros(())
    step = min(chunk, _rows_per_chunk(x, len(clustering.centroids)))
    for rows, labels in zip(x.split(step), clustering.labels.split(step), strict=True):
        distance = torch.cdist(rows, clustering.centroids)
        own = distance.gather(1, labels[:, None]).squeeze(1)
        size = sizes[labels]
        own = own * size / (size - 1).clamp(min=1)
        other = distance.scatter_(1, labels[:, None], torch.inf).min(1).values
        score = (other - own) / torch.maximum(own, other).clamp(min=1e-12)
        total += score.masked_fill(size < 2, 0).sum()
    return float(total / len(x))


def choose_clusters(x: Tensor, *, seed: int = 0, least: int = 2) -> ClusterChoice:
    """The number of clusters at which the silhouette of K-means peaks: no labels are needed.

    Walks a geometric grid from `least` to half the distinct samples, then closes in on the best by
    halving the gap around it. Each K costs one K-means.
    Shapes: x (N, D), L2-normalised. Raises ValueError for fewer than four distinct samples.
    Source: our choice; the paper's K is not public.
    """
    distinct = len(torch.unique(x, dim=0))
    most = distinct // 2
    if most < least:
        raise ValueError(
            f"clusters='auto' needs {2 * least} distinct samples to choose from, got {distinct}; "
            "pass the number of clusters"
        )
    scores: dict[int, float] = {}

    def try_k(k: int) -> None:
        if least <= k <= most and k not in scores:
            scores[k] = silhouette(x, kmeans(x, k, seed=seed))

    k = float(least)
    while k < most:
        try_k(round(k))
        k *= 2**0.5
    try_k(most)
    while True:
        best, known = max(scores, key=lambda k: (scores[k], -k)), sorted(scores)
        at = known.index(best)
        before = len(scores)
        if at > 0:
            try_k((known[at - 1] + best) // 2)
        if at + 1 < len(known):
            try_k((best + known[at + 1] + 1) // 2)
        if len(scores) == before:
            break
    tried = pd.DataFrame({"k": sorted(scores), "silhouette": [scores[k] for k in sorted(scores)]})
    return ClusterChoice(best, tried)


def resolve_clusters(
    clusters: int | tuple[int, int] | str, forget: Tensor, retain: Tensor, seed: int
) -> tuple[int, int]:
    """The numbers of forget and retain clusters that a config's `clusters` means."""
    if isinstance(clusters, str):
        return choose_clusters(forget, seed=seed).k, choose_clusters(retain, seed=seed).k
    if isinstance(clusters, int):
        return clusters, clusters
    forget_clusters, retain_clusters = clusters
    return int(forget_clusters), int(retain_clusters)
