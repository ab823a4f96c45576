"""Pseudo-labels, which take the place of identities, and a base for methods that need classes."""

from collections.abc import Callable

import torch
from torch import Tensor

from cure_core.cluster_count import resolve_clusters
from cure_core.clustering import KMeansResult, UnclusterableError, kmeans
from cure_core.losses import centroid_contrastive_loss
from cure_core.objectives.base import Objective, Setup, UnlearningDivergedError


def pseudo_label(
    x: Tensor, clusters: int, seed: int, labeller: str = "kmeans"
) -> tuple[Tensor, Tensor]:
    """Cluster x (N, D): the centroids (K, D), and the labels (N,), int64 in [0, K).

    `labeller` is one of `LABELLERS`. K is `clusters`, but for "hdbscan", which finds its own.
    Raises ValueError where HDBSCAN finds fewer than two clusters.
    """
    return LABELLERS[labeller](x, clusters, seed)


def recluster(x: Tensor, centroids: Tensor, spherical: bool = False) -> KMeansResult:
    """K-means of the student's embeddings x (N, D) from where the centroids (K, D) were.

    Raises UnlearningDivergedError where x is not finite or has fewer than K distinct rows.
    """
    try:
        return kmeans(x, len(centroids), init=centroids, spherical=spherical)
    except UnclusterableError as error:
        raise UnlearningDivergedError(f"the student has collapsed: {error}") from error


def check_clusters(clusters: int | tuple[int, int] | str, forget: int, retain: int) -> None:
    """Raise ValueError for more clusters than a side has samples."""
    if isinstance(clusters, str):
        return
    both = (clusters, clusters) if isinstance(clusters, int) else clusters
    for side, count, size in zip(("forget", "retain"), both, (forget, retain), strict=True):
        if count > size:
            raise ValueError(
                f"clusters={count} for the {side} set of {size} images; ask for at most {size}"
            )


def _kmeans(x: Tensor, clusters: int, seed: int) -> tuple[Tensor, Tensor]:
    result = kmeans(x, clusters, seed=seed)
    return result.centroids, result.labels


def _spherical(x: Tensor, clusters: int, seed: int) -> tuple[Tensor, Tensor]:
    result = kmeans(x, clusters, seed=seed, spherical=True)
    return result.centroids, result.labels


def _gaussian_mixture(x: Tensor, clusters: int, seed: int) -> tuple[Tensor, Tensor]:
    """Diagonal covariances, at least 1e-4 (our choice: few samples, many dimensions)."""
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(clusters, covariance_type="diag", reg_covar=1e-4, random_state=seed)
    labels = mixture.fit_predict(x.double().cpu().numpy())
    return torch.as_tensor(mixture.means_).to(x), torch.as_tensor(labels).to(x.device)


def _hdbscan(x: Tensor, clusters: int, seed: int) -> tuple[Tensor, Tensor]:
    """Clusters of three or more (our choice: people have few images); noise joins the nearest."""
    from sklearn.cluster import HDBSCAN

    found = HDBSCAN(min_cluster_size=3, copy=True).fit_predict(x.double().cpu().numpy())
    found = torch.as_tensor(found, dtype=torch.int64, device=x.device)
    count = int(found.max()) + 1
    if count < 2:
        raise ValueError(
            f"HDBSCAN finds {count} clusters in {len(x)} samples, and a target needs two; "
            "choose another labeller"
        )
    centroids = torch.stack([x[found == k].mean(0) for k in range(count)])
    nearest = torch.cdist(x, centroids).argmin(1)
    return centroids, torch.where(found < 0, nearest, found)


LABELLERS: dict[str, Callable[[Tensor, int, int], tuple[Tensor, Tensor]]] = {
    "kmeans": _kmeans,
    "spherical": _spherical,
    "gaussian_mixture": _gaussian_mixture,
    "hdbscan": _hdbscan,
}


def other_classes(own: Tensor, count: int, seed: int) -> Tensor:
    """A random class for each sample that is not its `own`: (N,) int64 in [0, count), both."""
    generator = torch.Generator().manual_seed(seed)
    shift = torch.randint(1, count, (len(own),), generator=generator).to(own.device)
    return (own + shift) % count


class PseudoLabelled(Objective):
    """For methods written for a classifier: clusters are its classes, centroids its last layer.

    Both sides are clustered by K-means in the teacher's embeddings, apart, since a request says
    which samples go and not whose they are; all centroids together are the head, and stay as they
    are. The logit of a class is the dot product with its centroid, a mean of unit embeddings, over
    `config.temperature`. A trained head would follow the student; a fixed one asks the encoder to
    forget (our choice).
    """

    def check_sizes(self, forget: int, retain: int) -> None:
        check_clusters(self.config.clusters, forget, retain)

    def start(self, setup: Setup) -> None:
        self.centroids, self.forget_classes, self.retain_classes = self.classes(setup)

    def classes(self, setup: Setup) -> tuple[Tensor, Tensor, Tensor]:
        """The head (K, D), and each sample's class, (Nf,) and (Nr,), int64 in [0, K)."""
        forget, retain, seed = setup.forget_views[0], setup.retain_views[0], self.config.seed
        clusters = resolve_clusters(self.config.clusters, forget, retain, seed)
        forget_centroids, forget_labels = pseudo_label(forget, clusters[0], seed)
        retain_centroids, retain_labels = pseudo_label(retain, clusters[1], seed)
        centroids = torch.cat([forget_centroids, retain_centroids])
        return centroids, forget_labels, retain_labels + len(forget_centroids)

    def cross_entropy(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        """A classifier's loss (B,) of unit embeddings (B, D), in nats."""
        return centroid_contrastive_loss(
            embeddings, self.centroids, classes, self.config.temperature
        )

    def summary(self) -> dict[str, float]:
        return {
            "clusters_forget": len(self.forget_classes.unique()),
            "clusters_retain": len(self.retain_classes.unique()),
        }
