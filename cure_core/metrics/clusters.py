"""The nearest-centroid attack's features: where an image lies among the clusters of all images."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn.preprocessing import normalize

from cure_core.clustering import kmeans
from cure_core.metrics.arrays import unit_rows
from cure_core.metrics.pairs import group_by_person


def nearest_centroid_features(
    embeddings: torch.Tensor | ArrayLike, n_clusters: int, seed: int = 0
) -> pd.DataFrame:
    """How near each image lies to the centre of a cluster, and how much nearer than to others.

    K-means replaces the labels. Columns: `nearest`, the cosine to the nearest centroid, where the
    centroid of an image's cluster is that of the cluster's other images (if there are none, only
    the other clusters count); `margin`, by how much that exceeds the second nearest. Pass all
    images under attack in one call, and equally many of each person: a person with more images has
    a centroid of lower variance.

    Shapes: embeddings (N, D), raw or normalised; returns N rows, in the order given.
    Source: our choice, after detecting people in the training set by how close their images lie
    (Li et al., arXiv:2203.02077). Raises ValueError for NaN, and for n_clusters under 2 or above
    the number of distinct rows.
    """
    rows = unit_rows(embeddings, "embeddings")
    labels = kmeans(torch.from_numpy(rows), n_clusters, seed=seed).labels.cpu().numpy()
    sums = np.zeros((n_clusters, rows.shape[1]), dtype=rows.dtype)
    np.add.at(sums, labels, rows)
    cosine = rows @ normalize(sums).T
    alone = np.bincount(labels, minlength=n_clusters)[labels] == 1
    to_others = (rows * normalize(sums[labels] - rows)).sum(axis=1)
    cosine[np.arange(len(rows)), labels] = np.where(alone, -1, to_others)
    second, first = np.sort(cosine, axis=1)[:, -2:].T
    return pd.DataFrame({"nearest": first, "margin": first - second}).astype(np.float64)


def first_of_each(people: ArrayLike, count: int) -> np.ndarray:
    """Mask (N,) of the first `count` images of every person in people (N,), or all if fewer."""
    order, start = group_by_person(np.asarray(people))
    mask = np.empty(len(order), dtype=bool)
    mask[order] = np.arange(len(order)) - start < count
    return mask
