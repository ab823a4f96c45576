"""The nearest-centroid attack's features: how an image lies among the clusters of all images."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike

from cure_core.clustering import kmeans
from cure_core.metrics.arrays import checked
from cure_core.metrics.pairs import group_by_person


def nearest_centroid_features(
    embeddings: torch.Tensor | ArrayLike, n_clusters: int, seed: int = 0
) -> pd.DataFrame:
    """How near each image lies to the centre of a cluster, and how much nearer than to others.

    K-means stands in for the labels. Columns: `nearest`, the cosine to the nearest centroid, with
    each image's own part in its centroid taken out (alone in its cluster, the others count);
    `margin`, by how much that exceeds the second nearest. Give every image under attack in one
    call, and as many of each person: a person with more images has a steadier centroid.

    Shapes: embeddings (N, D), raw or normalised; returns N rows, in the order given.
    Source: our choice, after telling trained-on people by how close their images lie (Li et al.,
    arXiv:2203.02077). Raises ValueError for NaN, and for n_clusters under 2 or above the number
    of distinct rows.
    """
    from sklearn.preprocessing import normalize

    rows = normalize(checked(embeddings, "embeddings", ndim=2))
    labels = kmeans(torch.from_numpy(rows), n_clusters, seed=seed).labels.cpu().numpy()
    sums = np.zeros((n_clusters, rows.shape[1]), dtype=rows.dtype)
    np.add.at(sums, labels, rows)
    cosine = rows @ normalize(sums).T
    alone = np.bincount(labels, minlength=n_clusters)[labels] == 1
    without_own = (rows * normalize(sums[labels] - rows)).sum(axis=1)
    cosine[np.arange(len(rows)), labels] = np.where(alone, -1, without_own)
    second, first = np.sort(cosine, axis=1)[:, -2:].T
    return pd.DataFrame({"nearest": first, "margin": first - second}).astype(np.float64)


def equal_share(people: ArrayLike, each: int) -> np.ndarray:
    """Mask (N,) of the first `each` images of every person in people (N,), fewer where fewer."""
    order, start = group_by_person(np.asarray(people))
    mask = np.empty(len(order), dtype=bool)
    mask[order] = np.arange(len(order)) - start < each
    return mask
