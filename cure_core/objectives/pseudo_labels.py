"""Pseudo-labels in place of identities, and a base class for methods that cluster both sides."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from cure_core.cluster_count import resolve_clusters
from cure_core.clustering import KMeansResult, UnclusterableError, kmeans
from cure_core.objectives.base import Objective, Setup, UnlearningDivergedError

Clusters = tuple[Tensor, Tensor]  # centroids (K, D), and labels (N,), int64 in [0, K)


class Clustered(Objective):
    """A method that clusters the teacher's embeddings of both sides, each on its own.

    On its own, since a request says which samples go and not whose they are.
    """

    def check_sizes(self, forget: int, retain: int) -> None:
        """Raise ValueError for more clusters than a side has samples."""
        clusters = self.config.clusters
        if isinstance(clusters, str):
            return
        both = (clusters, clusters) if isinstance(clusters, int) else clusters
        for side, count, size in zip(("forget", "retain"), both, (forget, retain), strict=True):
            if count > size:
                raise ValueError(
                    f"clusters={count} for the {side} set of {size} images; ask for at most {size}"
                )

    def cluster(self, setup: Setup, labeller: str = "kmeans") -> tuple[Clusters, Clusters]:
        """The clusters of the forget side, and those of the retain side."""
        forget, retain, seed = setup.forget_views[0], setup.retain_views[0], self.config.seed
        n_forget, n_retain = resolve_clusters(self.config.clusters, forget, retain, seed)
        label = LABELLERS[labeller]
        return label(forget, n_forget, seed), label(retain, n_retain, seed)


def recluster(x: Tensor, centroids: Tensor, spherical: bool = False) -> KMeansResult:
    """K-means of the student's embeddings x (N, D), started from the centroids (K, D).

    Raises UnlearningDivergedError if x is not finite or has fewer than K distinct rows.
    """
    try:
        return kmeans(x, len(centroids), init=centroids, spherical=spherical)
    except UnclusterableError as error:
        raise UnlearningDivergedError(f"the student has collapsed: {error}") from error


def other_classes(classes: Tensor, count: int, seed: int) -> Tensor:
    """For each of `classes` (N,) a random one of the `count` - 1 others: int64 (N,)."""
    generator = torch.Generator().manual_seed(seed)
    shift = torch.randint(1, count, (len(classes),), generator=generator).to(classes.device)
    return (classes + shift) % count


def class_means(x: Tensor, classes: Tensor) -> Tensor:
    """The mean (D,) of the rows of x (N, D) of each class from 0; negative ones are left out."""
    return torch.stack([x[classes == k].mean(0) for k in range(int(classes.max()) + 1)])


def _kmeans(x: Tensor, clusters: int, seed: int, spherical: bool = False) -> Clusters:
    result = kmeans(x, clusters, seed=seed, spherical=spherical)
    return result.centroids, result.labels


def _gaussian_mixture(x: Tensor, clusters: int, seed: int) -> Clusters:
    """Diagonal covariances, at least 1e-4 (our choice: few samples, many dimensions)."""
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(clusters, covariance_type="diag", reg_covar=1e-4, random_state=seed)
    labels = mixture.fit_predict(x.double().cpu().numpy())
    return torch.as_tensor(mixture.means_).to(x), torch.as_tensor(labels).to(x.device)


def _hdbscan(x: Tensor, clusters: int, seed: int) -> Clusters:
    """Finds its own K. Clusters of three or more (our choice); noise joins the nearest.

    Raises ValueError if it finds fewer than two.
    """
    from sklearn.cluster import HDBSCAN

    found = HDBSCAN(min_cluster_size=3, copy=True).fit_predict(x.double().cpu().numpy())
    labels = torch.as_tensor(found, dtype=torch.int64, device=x.device)
    count = int(labels.max()) + 1
    if count < 2:
        raise ValueError(
            f"HDBSCAN finds {count} clusters in {len(x)} samples, and a target needs two; "
            "choose another labeller"
        )
    centroids = class_means(x, labels)
    nearest = torch.cdist(x, centroids).argmin(1)
    return centroids, torch.where(labels < 0, nearest, labels)


# (x (N, D), number of clusters, seed) -> clusters
LABELLERS: dict[str, Callable[[Tensor, int, int], Clusters]] = {
    "kmeans": _kmeans,
    "spherical": partial(_kmeans, spherical=True),
    "gaussian_mixture": _gaussian_mixture,
    "hdbscan": _hdbscan,
}
