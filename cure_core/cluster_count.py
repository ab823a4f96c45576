"""Choosing the number of clusters without labels."""

import math
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from cure_core.clustering import KMeansResult, kmeans, rows_per_chunk

FEWEST_DISTINCT = 4  # samples from which a number of clusters can be chosen


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

    a is a sample's distance to the centroid of the *other* samples of its cluster, b to the nearest
    other centroid; a sample alone in its cluster counts 0, so that many tiny clusters do not win.
    Takes O(N K) time, where the classical silhouette takes O(N^2), and memory for a chunk of
    samples.
    Shapes: x (N, D). Source: the simplified silhouette (Hruschka et al. 2004); leaving the sample
    out of its centroid is our choice.
    """
    sizes = clustering.labels.bincount(minlength=len(clustering.centroids)).to(x.dtype)
    total = x.new_zeros(())
    step = min(chunk, rows_per_chunk(x, len(clustering.centroids)))
    for rows, labels in zip(x.split(step), clustering.labels.split(step), strict=True):
        distance = torch.cdist(rows, clustering.centroids)
        size = sizes[labels]
        a = distance.gather(1, labels[:, None]).squeeze(1) * size / (size - 1).clamp(min=1)
        b = distance.scatter_(1, labels[:, None], torch.inf).min(1).values
        score = (b - a) / torch.maximum(a, b).clamp(min=1e-12)
        total += score.masked_fill(size < 2, 0).sum()
    return float(total / len(x))


def choose_clusters(x: Tensor, *, seed: int = 0, least: int = 2) -> ClusterChoice:
    """The number of clusters at which the silhouette of K-means peaks: no labels are needed.

    Tries a geometric grid from `least` to half the distinct samples, then closes in on the best by
    halving the gaps to its neighbours. Each K costs one K-means.
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
    steps = math.ceil(2 * math.log2(most / least))
    candidates = {round(least * 2 ** (i / 2)) for i in range(steps)} | {most}
    scores: dict[int, float] = {}
    while candidates:
        scores |= {k: silhouette(x, kmeans(x, k, seed=seed)) for k in sorted(candidates)}
        best, known = max(scores, key=lambda k: (scores[k], -k)), sorted(scores)
        i = known.index(best)
        below, above = known[max(i - 1, 0)], known[min(i + 1, len(known) - 1)]
        candidates = {(below + best) // 2, (best + above + 1) // 2} - scores.keys()
    tried = pd.DataFrame({"k": known, "silhouette": [scores[k] for k in known]})
    return ClusterChoice(best, tried)


def resolve_clusters(
    clusters: int | tuple[int, int] | str, forget: Tensor, retain: Tensor, seed: int
) -> tuple[int, int]:
    """The numbers of forget and retain clusters that a config's `clusters` means."""
    if isinstance(clusters, str):
        return choose_clusters(forget, seed=seed).k, choose_clusters(retain, seed=seed).k
    return (clusters, clusters) if isinstance(clusters, int) else clusters
