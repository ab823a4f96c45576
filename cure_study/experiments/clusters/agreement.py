"""How good a clustering is, and which number of clusters each criterion would choose.

Nothing here but `label_agreement` and `cluster_sizes` sees a label; those two are evaluation's.
"""

from collections.abc import Iterable
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from cure_core.cluster_count import silhouette
from cure_core.clustering import kmeans

CLASSICAL_MOST = 5000  # samples of the classical silhouette, which is O(N^2)


def k_grid(n_samples: int, points: int = 10) -> list[int]:
    """Numbers of clusters evenly spaced in log, from 2 to half the samples."""
    return sorted({round(k) for k in np.geomspace(2, max(2, n_samples // 2), points)})


def criteria(x: Tensor, ks: Iterable[int], *, seed: int = 0, repeats: int = 5) -> pd.DataFrame:
    """Every criterion for every K, without labels: k, criterion, value.

    inertia; silhouette (classical, of at most 5,000 samples); silhouette by centroids, which
    `clusters="auto"` follows; Calinski-Harabasz; Davies-Bouldin (lower is better); stability over
    seeds, the mean adjusted Rand index between K-means from `repeats` starts; stability over
    bootstrap, that between K-means on all samples and on resamples, whose centroids then label all.
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
        resampled = []
        for _ in range(repeats):
            sample = x[torch.from_numpy(rng.integers(len(x), size=len(x)))]
            distinct = len(torch.unique(sample, dim=0))
            centroids = kmeans(sample, min(k, distinct), seed=seed).centroids
            resampled.append(torch.cdist(x, centroids).argmin(1).numpy())
        most = min(len(x), CLASSICAL_MOST)
        classical = silhouette_score(points, labels[0], sample_size=most, random_state=seed)
        seeds = [adjusted_rand_score(a, b) for a, b in combinations(labels, 2)]
        bootstrap = [adjusted_rand_score(labels[0], other) for other in resampled]
        values = {
            "inertia": runs[0].inertia,
            "silhouette": classical,
            "silhouette by centroids": silhouette(x, runs[0]),
            "Calinski-Harabasz": calinski_harabasz_score(points, labels[0]),
            "Davies-Bouldin": davies_bouldin_score(points, labels[0]),
            "stability over seeds": np.mean(seeds),
            "stability over bootstrap": np.mean(bootstrap),
        }
        rows += [(k, name, float(value)) for name, value in values.items()]
    return pd.DataFrame(rows, columns=["k", "criterion", "value"])


def suggestions(table: pd.DataFrame) -> pd.Series:
    """The K that each criterion of `criteria` would choose: its best, for inertia its elbow."""
    chosen: dict[str, int] = {}
    for name in table.criterion.unique():
        own = table[table.criterion == name]
        if name == "inertia":
            chosen[name] = elbow(own.k, own.value)
        else:
            sign = -1 if name == "Davies-Bouldin" else 1
            best = int(np.nanargmax(sign * own.value.to_numpy(float)))  # NaN is no best value
            chosen[name] = int(own.k.iloc[best])
    return pd.Series(chosen, name="k")


def elbow(ks: ArrayLike, inertia: ArrayLike) -> int:
    """The K at which inertia over log K lies deepest below the line between its ends.

    Source: Kneedle (Satopaa et al. 2011), without its smoothing.
    """
    k, y = np.asarray(ks), np.asarray(inertia, dtype=float)
    if len(k) < 2:
        raise ValueError(f"{len(k)} numbers of clusters; an elbow takes at least 2")
    along = np.log(k / k[0]) / np.log(k[-1] / k[0])
    return int(k[np.argmax(y[0] + along * (y[-1] - y[0]) - y)])


def label_agreement(labels: ArrayLike, identities: ArrayLike) -> dict[str, float]:
    """How far clusters (N,) match identities (N,), for evaluation alone; each 1 at best.

    purity: share of samples whose cluster is mostly their person; homogeneity: a cluster holds one
    person; completeness: a person lies in one cluster; NMI: the harmonic mean of these two; ARI:
    agreement over pairs, 0 for chance.
    """
    from sklearn.metrics import adjusted_rand_score, homogeneity_completeness_v_measure
    from sklearn.metrics.cluster import contingency_matrix

    table = contingency_matrix(identities, labels)
    homogeneity, completeness, nmi = homogeneity_completeness_v_measure(identities, labels)
    return {
        "purity": float(table.max(axis=0).sum() / table.sum()),
        "NMI": float(nmi),
        "ARI": float(adjusted_rand_score(identities, labels)),
        "homogeneity": float(homogeneity),
        "completeness": float(completeness),
    }


def agreement(
    x: Tensor, identities: ArrayLike, ks: Iterable[int], *, seed: int = 0
) -> pd.DataFrame:
    """`label_agreement` of K-means for every K: k, criterion, value. Evaluation alone."""
    rows = [
        (k, name, value)
        for k in ks
        for name, value in label_agreement(kmeans(x, k, seed=seed).labels, identities).items()
    ]
    return pd.DataFrame(rows, columns=["k", "criterion", "value"])


def cluster_sizes(labels: ArrayLike, identities: ArrayLike) -> pd.DataFrame:
    """Largest cluster first: rank, size, samples of its most frequent person, people in it."""
    frame = pd.DataFrame({"cluster": np.asarray(labels), "person": np.asarray(identities)})
    counts = frame.groupby("cluster").person.value_counts()
    grouped = counts.groupby("cluster")
    own = pd.DataFrame(
        {"size": grouped.sum(), "main_person": grouped.max(), "people": grouped.size()}
    )
    own = own.sort_values(["size", "main_person"], ascending=False).reset_index(drop=True)
    return own.rename_axis("rank").reset_index()
