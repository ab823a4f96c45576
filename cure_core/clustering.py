"""K-means in torch, the same on CPU and GPU, and the map from a cluster to its farthest one."""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from cure_core.checks import NOT_NEGATIVE, real, whole
from cure_core.runtime.distributed import all_reduce_, broadcast_, gather, shard

# Bytes of the distance matrix computed at once: on a CPU what fits the cache, on a GPU enough rows
# to keep it busy.
CPU_CHUNK_BYTES = 2**25
GPU_CHUNK_BYTES = 2**28


class UnclusterableError(ValueError):
    """The samples are not finite, or fewer of them are distinct than there are clusters."""


@dataclass(frozen=True, eq=False)
class KMeansResult:
    """Centroids (K, D), and labels (N,) int64 in [0, K), the nearest centroid of each sample.

    `inertia` is the sum of squared distances to the nearest centroid; `n_iter` counts the updates
    of the centroids.
    """

    centroids: Tensor
    labels: Tensor
    inertia: float
    n_iter: int

    def __repr__(self) -> str:
        k, d = self.centroids.shape
        sizes = self.labels.bincount(minlength=k)
        return (
            f"KMeansResult({len(self.labels)} samples in {k} clusters of "
            f"{int(sizes.min())} to {int(sizes.max())}, D={d}, "
            f"inertia={self.inertia:.4g}, n_iter={self.n_iter})"
        )


def kmeans(
    x: Tensor,
    n_clusters: int,
    *,
    init: str | Tensor = "k-means++",
    max_iter: int = 300,
    tol: float = 1e-4,
    seed: int = 0,
    n_init: int = 1,
    device: torch.device | str | None = None,
    spherical: bool = False,
) -> KMeansResult:
    """Lloyd's algorithm, with scikit-learn's start, stopping rule and handling of empty clusters.

    Shapes: x (N, D), computed in float32 (float64 stays); `init` "k-means++" (the greedy variant),
    "random" (K samples), or initial centroids (K, D), with which `n_init` is ignored.
    Stops when no cluster is empty and no label changes, or the squared shifts of all centroids sum
    to at most `tol` times the mean variance of a feature. Of `n_init` runs the one with the lowest
    inertia is kept. `spherical` L2-normalises the samples, and the centroids after each update, so
    that nearest means highest cosine. Runs on `device` (default: that of x) and leaves the result
    there. The random numbers are drawn on the CPU: a seed means the same draws on every machine.

    In a group of processes each works on its shard of the samples, and all get the whole result.
    Beyond x, needs memory for one copy of it and a chunk of the distances.

    Raises UnclusterableError, a ValueError, for NaN or infinity in x, for values whose squares
    overflow, and for K above the number of distinct rows; ValueError for K < 2 and for any other
    argument out of range.
    Source: Lloyd (1982); k-means++ (Arthur and Vassilvitskii 2007); spherical (Dhillon and Modha
    2001).

    >>> kmeans(torch.tensor([[0.0], [1.0], [10.0], [11.0]]), 2)
    KMeansResult(4 samples in 2 clusters of 2 to 2, D=1, inertia=1, n_iter=1)
    """
    x = torch.as_tensor(x).detach()
    x = x.to(device or x.device, torch.promote_types(x.dtype, torch.float32))
    if spherical:
        x = F.normalize(x)
    _check(x, n_clusters, n_init, max_iter, tol)

    # Centred data lose fewer digits in |x|^2 - 2xc + |c|^2; a sphere must not be moved.
    mean = x.mean(dim=0)
    origin = torch.zeros_like(mean) if spherical else mean
    x = x if spherical else x - origin
    variance = _square(x).mean() - (mean - origin).square().sum()  # of all features together
    if not math.isfinite(variance.item()):
        raise UnclusterableError(f"squared distances overflow {x.dtype}; scale the samples down")
    tol *= variance.item() / x.shape[1]

    generator = torch.Generator().manual_seed(seed)
    runs = []
    for _ in range(n_init if isinstance(init, str) else 1):
        start = _start(x, n_clusters, init, origin, generator)
        start = F.normalize(start) if spherical else start
        runs.append(_lloyd(x, start, max_iter, tol, spherical))
    best = min(runs, key=lambda result: result.inertia)
    return replace(best, centroids=best.centroids + origin)


def farthest_centroid(centroids: Tensor) -> Tensor:
    """For each centroid the index of the one farthest from it: phi(k) = argmax_j |c_k - c_j|.

    Shapes: centroids (K, D), K >= 2. Returns (K,) int64, on the same device.
    Raises ValueError for a single centroid, and for NaN or infinity.
    Source: CURE (arXiv:2509.19562), target of the forget side.
    """
    if len(centroids) < 2:
        raise ValueError(f"{len(centroids)} centroids; the farthest one takes at least 2")
    if not centroids.isfinite().all():
        raise ValueError("the centroids hold NaN or infinity")
    rows = rows_per_chunk(centroids, len(centroids))
    return torch.cat([torch.cdist(c, centroids).argmax(dim=1) for c in centroids.split(rows)])


def _check(x: Tensor, n_clusters: int, n_init: int, max_iter: int, tol: float) -> None:
    if x.ndim != 2 or x.shape[1] == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}; K-means takes (N, D)")
    whole("clusters", n_clusters, 2)
    whole("n_init", n_init, 1)
    whole("max_iter", max_iter)
    real("tol", tol, *NOT_NEGATIVE)
    low, high = x.aminmax(dim=1)  # no second array of the size of x
    if bad := (~(low.isfinite() & high.isfinite())).nonzero().flatten().tolist():
        raise UnclusterableError(
            f"{len(bad)} of {len(x)} rows hold NaN or infinity (first: row {bad[0]}); "
            "drop them, or check the encoder that made them"
        )
    distinct = _count_distinct(x, n_clusters)
    if distinct < n_clusters:
        raise UnclusterableError(
            f"clusters={n_clusters} but the set has only {distinct} distinct samples; "
            f"ask for at most {distinct}"
        )


def _count_distinct(x: Tensor, enough: int) -> int:
    """The number of distinct rows of x (N, D); counting stops at `enough`."""
    seen = x[:0]
    for rows in x.split(2 * enough):
        seen = torch.cat([seen, rows]).unique(dim=0)
        if len(seen) >= enough:
            break
    return len(seen)


def _start(
    x: Tensor, n_clusters: int, init: str | Tensor, origin: Tensor, generator: torch.Generator
) -> Tensor:
    """The first centroids (K, D), relative to `origin` as x is."""
    if isinstance(init, str):
        if init == "k-means++":
            return _plus_plus(x, n_clusters, generator)
        if init == "random":
            return x[torch.randperm(len(x), generator=generator)[:n_clusters].to(x.device)]
        raise ValueError(f'init={init!r}; choose "k-means++", "random" or a (K, D) tensor')
    if init.shape != (n_clusters, x.shape[1]):
        raise ValueError(
            f"init has shape {tuple(init.shape)}; "
            f"{n_clusters} clusters of these samples need ({n_clusters}, {x.shape[1]})"
        )
    if not init.isfinite().all():
        raise ValueError("init holds NaN or infinity")
    return init.detach().to(x) - origin


def _plus_plus(x: Tensor, n_clusters: int, generator: torch.Generator) -> Tensor:
    """Greedy k-means++: each new centroid is the best of 2 + ln K samples drawn by distance."""
    n_candidates = 2 + int(math.log(n_clusters))
    draws = torch.rand(n_clusters, n_candidates, generator=generator, dtype=torch.float64)
    draws = draws.to(x.device)
    square = _square(x)
    first = (draws[0, :1] * len(x)).long()
    chosen = [first]
    rows = shard(len(x))
    nearest = _squared_distances(x, square, first, rows)[0]
    for draw in draws[1:]:
        cumulative = gather(nearest, len(x)).cumsum(dim=0, dtype=torch.float64)
        candidates = torch.searchsorted(cumulative, draw * cumulative[-1], right=True)
        candidates = candidates.clamp(max=len(x) - 1)
        distances = _squared_distances(x, square, candidates, rows).minimum(nearest)
        best = all_reduce_(distances.sum(dim=1)).argmin(dim=0, keepdim=True)
        nearest = distances.index_select(0, best)[0]
        chosen.append(candidates.index_select(0, best))
    return x[torch.cat(chosen)]


def _square(x: Tensor) -> Tensor:
    """Squared length of each row of x (N, D), without a second array of its size."""
    return torch.linalg.vector_norm(x, dim=1).square()


def _squared_distances(x: Tensor, square: Tensor, candidates: Tensor, rows: slice) -> Tensor:
    """Squared distances (C, R) from the rows `candidates` (C,) of x to the slice `rows` of x."""
    distances = torch.addmm(square[rows], x[candidates], x[rows].T, alpha=-2)
    return distances.add_(square[candidates, None]).clamp_(min=0)


def _lloyd(
    x: Tensor, centroids: Tensor, max_iter: int, tol: float, spherical: bool
) -> KMeansResult:
    """Update centroids and assign labels until they converge; `tol` is absolute here."""
    square = _square(x)
    labels, nearest = _assign(x, square, centroids)
    n_iter = 0
    for n_iter in range(1, max_iter + 1):  # noqa: B007
        previous, old = centroids, labels
        centroids = _update(x, labels, nearest, centroids, spherical)
        labels, nearest = _assign(x, square, centroids)
        converged = (labels == old).all() | ((centroids - previous).square().sum() <= tol)
        used = torch.zeros_like(centroids[:, 0], dtype=torch.bool).index_fill_(0, labels, True)
        if converged & used.all():
            break
    return KMeansResult(centroids, labels, nearest.sum(dtype=torch.float64).item(), n_iter)


def _assign(x: Tensor, square: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest centroid (N,) int64 and squared distance to it (N,); `square` is |x|^2 (N,)."""
    offset = centroids.square().sum(dim=1)
    minus_twice = -2 * centroids.T
    count, part = len(x), shard(len(x))
    x, square = x[part], square[part]
    labels = torch.empty(len(x), dtype=torch.int64, device=x.device)
    nearest = torch.empty_like(square)
    step = rows_per_chunk(x, len(centroids))
    buffer = x.new_empty(min(step, len(x)), len(centroids))
    for i in range(0, len(x), step):
        rows = slice(i, i + step)
        distances = torch.addmm(offset, x[rows], minus_twice, out=buffer[: len(x[rows])])
        torch.min(distances, dim=1, out=(nearest[rows], labels[rows]))
    return gather(labels, count), gather(nearest.add_(square).clamp_(min=0), count)


def _update(
    x: Tensor, labels: Tensor, nearest: Tensor, centroids: Tensor, spherical: bool
) -> Tensor:
    """The mean of each cluster; an empty one moves to the sample farthest from its centroid."""
    means, counts = _means(x, labels, len(centroids))
    empty = (counts == 0).nonzero().flatten()
    if len(empty):
        labels = labels.index_copy(0, nearest.topk(len(empty)).indices, empty)
        means, counts = _means(x, labels, len(centroids))
    replaced = counts[:, None] > 0
    if spherical:
        # The mean of opposite samples has no direction.
        replaced &= means.norm(dim=1, keepdim=True) > 1e-6
        means = F.normalize(means)
    return broadcast_(torch.where(replaced, means, centroids))


def _means(x: Tensor, labels: Tensor, n_clusters: int) -> tuple[Tensor, Tensor]:
    """Mean of the rows of x by label (K, D), zero if there is none, and the counts (K,).

    `embedding_bag` gathers and averages without a copy of x, and in a fixed order also on a GPU,
    which `index_add_` does not.
    """
    order = labels.argsort(stable=True)
    bounds = torch.searchsorted(labels[order], torch.arange(n_clusters + 1, device=x.device))
    return F.embedding_bag(order, x, bounds[:-1], mode="mean"), bounds.diff()


def rows_per_chunk(x: Tensor, n_clusters: int) -> int:
    """Rows whose distances to all centroids fit the byte budget of x's device."""
    budget = GPU_CHUNK_BYTES if x.is_cuda else CPU_CHUNK_BYTES
    return max(1, budget // (n_clusters * x.element_size()))
