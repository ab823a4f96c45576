"""Features of images for membership attacks, from their embeddings.

The embeddings of members change less under small changes of the image, have another norm, and are
closer to the other images of their person and to the centroid of their cluster.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn.preprocessing import normalize

from cure_core.clustering import kmeans
from cure_core.metrics.arrays import as_array, checked, unit_rows
from cure_core.metrics.pairs import group_by_person


def view_features(
    embeddings_of_views: Sequence[torch.Tensor | ArrayLike], people: ArrayLike, m: int = 8
) -> pd.DataFrame:
    """Features of each image for the attack, from embeddings of its views.

    The first view is the image itself, the others are slight changes of it (mirrored, shifted,
    blurred). Columns: `log_norm` of the first view's embedding; `view_1`, `view_2`, ...: cosine
    between the first and each other view; `compactness`: cosine to the centroid of up to `m` other
    images of the same person (the next ones in the order given, wrapping around; a fixed number,
    so that it does not depend on how many images a person has). m = 0 leaves it out.

    Pass members, non-members and forget samples in one call, so that all images of a person are
    there, and split the rows afterwards.
    Shapes: views (N, D) raw; people (N,); returns N rows, in the order given.
    Source: the features are our choice; the idea to detect people in the training set by how an
    encoder embeds several of their images is Li et al.'s (arXiv:2203.02077).
    Raises ValueError for no view, shapes that differ, NaN, a zero embedding, or, with m > 0, a
    person with a single image.
    """
    views = [checked(view, f"view {k}", ndim=2) for k, view in enumerate(embeddings_of_views)]
    people = as_array(people)
    shapes = {view.shape for view in views}
    if len(shapes) != 1 or len(people) != len(views[0]):
        raise ValueError(
            f"views have shapes {sorted(shapes)} and people holds {len(people)} labels; expected "
            "at least one view, all of one shape, with one label a row."
        )
    norms = [np.linalg.norm(view, axis=1, keepdims=True) for view in views]
    for k, norm in enumerate(norms):
        if not norm.all():
            raise ValueError(f"view {k} of image {int(np.argmin(norm))} has a zero embedding.")
    plain, *others = (view / norm for view, norm in zip(views, norms, strict=True))
    columns = {"log_norm": np.log(norms[0][:, 0])}
    columns |= {f"view_{k}": _row_cosine(plain, view) for k, view in enumerate(others, start=1)}
    if m > 0:
        columns["compactness"] = _compactness(plain, people, m)
    return pd.DataFrame(columns).astype(np.float64)


def _compactness(embeddings: np.ndarray, people: np.ndarray, m: int) -> np.ndarray:
    """Cosine (N,) of each normalised row to the centroid of up to m others of its person."""
    order, start = group_by_person(people)
    rank = np.arange(len(order)) - start
    count = np.bincount(start, minlength=len(order))[start]
    if count.min() < 2:
        single = people[order[count < 2]]
        raise ValueError(
            f"{len(single)} people have a single image (first: {single[0]}), which leaves no "
            "other to compare with; give more of their images, or m=0 to leave compactness out."
        )
    rows = embeddings[order]
    centroid = np.zeros_like(rows)
    for step in range(1, m + 1):
        partner = rows[start + (rank + step) % count]
        centroid += np.where((step < count)[:, None], partner, 0)
    result = np.empty(len(rows), dtype=rows.dtype)
    norm = np.linalg.norm(centroid, axis=1)
    result[order] = _row_cosine(rows, centroid) / np.where(norm > 0, norm, 1)
    return result


def _row_cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", a, b)


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
