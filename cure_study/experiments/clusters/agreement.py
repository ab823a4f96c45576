"""How good a clustering is, and which number of clusters each criterion would choose.

Only `label_agreement`, `agreement` and `cluster_sizes` use identities, for evaluation.
"""

from collections.abc import Hashable, Iterable
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from cure_core.cluster_count import silhouette
from cure_core.clustering import kmeans

MAX_SILHOUETTE_SAMPLES = 5000  # the classical silhouette is O(N^2)


def k_grid(n_samples: int, points: int = 10) -> list[int]:
    """Numbers of clusters evenly spaced in log, from 2 to half the samples."""
    return sorted({round(k) for k in np.geomspace(2, max(2, n_samples // 2), points)})


def criteria(x: Tensor, ks: Iterable[int], *, seed: int = 0, repeats: int = 5) -> pd.DataFrame:
    """Every criterion for every K, without labels: k, criterion, value.

    inertia; silhouette (classical, of at most 5,000 samples); silhouette by centroids, which
    `clusters="auto"` maximises; Calinski-Harabasz; Davies-Bouldin (lower is better); stability over
    seeds, the mean adjusted Rand index between K-means from `repeats` starts; stability over
    bootstrap, the same index between K-means on all samples and the labels that they get from the
    centroids of each of `repeats` resamples.
    Shapes: x (N, D), every K at most the number of distinct rows, and below N.
    """
    from sklearn.metrics import (
        adjusted_rand_score,
        calinski_harabasz_score,
        davies_bouldin_score,
        silhouette_score,
    )

    points = x.numpy()
    rng = np.random.default_rng(seed)
    rows: list[tuple[int, str, float]] = []
    for k in ks:
        runs = [kmeans(x, k, seed=seed + i) for i in range(repeats)]
        labels = [run.labels.numpy() for run in runs]
        bootstrap = []
        for _ in range(repeats):
            sample = x[torch.from_numpy(rng.integers(len(x), size=len(x)))]
            distinct = len(torch.unique(sample, dim=0))
            centroids = kmeans(sample, min(k, distinct), seed=seed).centroids
            resampled = torch.cdist(x, centroids).argmin(1).numpy()
            bootstrap.append(adjusted_rand_score(labels[0], resampled))
        sample_size = min(len(x), MAX_SILHOUETTE_SAMPLES)
        values = {
            "inertia": runs[0].inertia,
            "silhouette": silhouette_score(
                points, labels[0], sample_size=sample_size, random_state=seed
            ),
            "silhouette by centroids": silhouette(x, runs[0]),
            "Calinski-Harabasz": calinski_harabasz_score(points, labels[0]),
            "Davies-Bouldin": davies_bouldin_score(points, labels[0]),
            "stability over seeds": np.mean(
                [adjusted_rand_score(a, b) for a, b in combinations(labels, 2)]
            ),
            "stability over bootstrap": np.mean(bootstrap),
        }
        rows += [(k, name, float(value)) for name, value in values.items()]
    return pd.DataFrame(rows, columns=["k", "criterion", "value"])


def suggestions(table: pd.DataFrame) -> pd.Series:
    """The K that each criterion of `criteria` would choose: its best, or the elbow of inertia."""
    chosen: dict[Hashable, Hashable] = {}
    for name, rows in table.groupby("criterion", sort=False):
        values = rows.set_index("k").value
        if name == "inertia":
            chosen[name] = elbow(values.index, values)
        else:
            chosen[name] = values.idxmin() if name == "Davies-Bouldin" else values.idxmax()
    return pd.Series(chosen, name="k")


def elbow(ks: ArrayLike, inertia: ArrayLike) -> int:
    """The K at which inertia over log K lies deepest below the line between its ends.

    Source: Kneedle (Satopaa et al. 2011), without its smoothing.
    """
    k, y = np.asarray(ks), np.asarray(inertia, dtype=float)
    if len(k) < 2:
        raise ValueError(f"{len(k)} numbers of clusters; an elbow needs at least 2")
    along = np.log(k / k[0]) / np.log(k[-1] / k[0])
    return int(k[np.argmax(y[0] + along * (y[-1] - y[0]) - y)])


def label_agreement(labels: ArrayLike, identities: ArrayLike) -> dict[str, float]:
    """How far clusters (N,) match identities (N,): five measures, each 1 at best.

    purity: share of samples that belong to the main person of their cluster; homogeneity: a cluster
    holds one person; completeness: a person lies in one cluster; NMI: the harmonic mean of these
    two; ARI: agreement over pairs, 0 for chance.
    """
    from sklearn.metrics import adjusted_rand_score, homogeneity_completeness_v_measure
    from sklearn.metrics.cluster import contingency_matrix

    counts = contingency_matrix(identities, labels)
    homogeneity, completeness, nmi = homogeneity_completeness_v_measure(identities, labels)
    return {
        "purity": float(counts.max(axis=0).sum() / counts.sum()),
        "NMI": float(nmi),
        "ARI": float(adjusted_rand_score(identities, labels)),
        "homogeneity": float(homogeneity),
        "completeness": float(completeness),
    }


def agreement(
    x: Tensor, identities: ArrayLike, ks: Iterable[int], *, seed: int = 0
) -> pd.DataFrame:
    """`label_agreement` of K-means for every K: k, criterion, value."""
    rows = [
        (k, name, value)
        for k in ks
        for name, value in label_agreement(kmeans(x, k, seed=seed).labels, identities).items()
    ]
    return pd.DataFrame(rows, columns=["k", "criterion", "value"])


def cluster_sizes(labels: ArrayLike, identities: ArrayLike) -> pd.DataFrame:
    """Largest cluster first: rank, size, samples of its most frequent person, people in it."""
    counts = pd.crosstab(np.asarray(labels), np.asarray(identities))
    sizes = pd.DataFrame(
        {
            "size": counts.sum(axis=1),
            "main_person": counts.max(axis=1),
            "people": (counts > 0).sum(axis=1),
        }
    )
    sizes = sizes.sort_values(["size", "main_person"], ascending=False, ignore_index=True)
    return sizes.rename_axis("rank").reset_index()
