"""Maps of embedding spaces in two dimensions, and how far each can be trusted."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

Spaces = Mapping[str, np.ndarray]  # a model's name to its embeddings (N, D), the same N rows each


class Rotation(NamedTuple):
    """An orthogonal matrix (D, D) that turns one space into another, and what it leaves over.

    `residual` is |A R - B| / |B| over the rows it was fitted to (Frobenius norms): 0 is a perfect
    fit, sqrt(2) is no relation.
    """

    matrix: np.ndarray
    residual: float


def rotate_into(source: np.ndarray, target: np.ndarray) -> Rotation:
    """The rotation (or reflection) that brings source (N, D) nearest to target (N, D).

    Row i of both is the same picture. Fit it on faces that both models should agree on, the
    retained ones: fitted on forgotten faces it would hide the very change to be shown.
    Source: orthogonal Procrustes (Schoenemann 1966). Raises ValueError for unequal shapes.
    """
    from scipy.linalg import orthogonal_procrustes

    matrix, _ = orthogonal_procrustes(source, target)
    return Rotation(matrix, residual(source @ matrix, target))


def residual(source: np.ndarray, target: np.ndarray) -> float:
    """|A - B| / |B| of two spaces (N, D)."""
    return float(np.linalg.norm(source - target) / np.linalg.norm(target))


def joint_tsne(spaces: Spaces, seed: int = 0, perplexity: float = 30) -> pd.DataFrame:
    """One map fitted to all spaces together: model, point (row of the space), x, y.

    openTSNE from a PCA start, by one thread: the same numbers from the same embeddings.
    """
    return _table(spaces, np.asarray(_fit(np.concatenate(list(spaces.values())), seed, perplexity)))


def placed_tsne(spaces: Spaces, seed: int = 0, perplexity: float = 30) -> pd.DataFrame:
    """The map of the first space, with the points of the others placed into it.

    Placement can only put a point among those that are there: movement into space where the first
    model has nothing cannot show. Columns as `joint_tsne`.
    """
    from threadpoolctl import threadpool_limits

    first, *others = spaces.values()
    embedding = _fit(first, seed, perplexity)
    with threadpool_limits(1):
        placed = [np.asarray(embedding.transform(x)) for x in others]
    return _table(spaces, np.concatenate([np.asarray(embedding), *placed]))


def joint_pca(spaces: Spaces) -> tuple[pd.DataFrame, np.ndarray]:
    """The first two principal components of all spaces together, and the variance shares (2,)."""
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        pca = PCA(2, svd_solver="full")
        coordinates = pca.fit_transform(np.concatenate(list(spaces.values())))
    return _table(spaces, coordinates), pca.explained_variance_ratio_


def map_quality(spaces: Spaces, table: pd.DataFrame, neighbours: int = 15) -> pd.DataFrame:
    """A row a model: trustworthiness, and the share of neighbours in the space kept in the map.

    Trustworthiness (Venna and Kaski 2001) is 1 where no map neighbour is a stranger, about 1/2 for
    a random map; `preserved` is the mean share of a point's nearest `neighbours` (fewer in a small
    set) that are also its nearest in the map, `chance` what a random map would keep.
    """
    from sklearn.manifold import trustworthiness
    from sklearn.neighbors import NearestNeighbors

    rows = {}
    for model, x in spaces.items():
        k = min(neighbours, (len(x) - 1) // 2)
        own = table[table.model == model].sort_values("point")[["x", "y"]].to_numpy()
        near = [
            NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)
            for points in (x, own)
        ]
        kept = [len(np.intersect1d(a, b)) / k for a, b in zip(*near, strict=True)]
        rows[model] = {
            "trustworthiness": trustworthiness(x, own, n_neighbors=k),
            "preserved": np.mean(kept),
            "chance": k / (len(x) - 1),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _fit(x: np.ndarray, seed: int, perplexity: float) -> Any:
    from openTSNE import TSNE
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return TSNE(
            perplexity=min(perplexity, (len(x) - 1) / 3),
            initialization="pca",
            neighbors="exact",
            n_jobs=1,
            random_state=seed,
        ).fit(x)


def _table(spaces: Spaces, coordinates: np.ndarray) -> pd.DataFrame:
    """Coordinates rounded to four digits after the point: what is saved is what is drawn."""
    model = np.repeat(list(spaces), [len(x) for x in spaces.values()])
    point = np.concatenate([np.arange(len(x)) for x in spaces.values()])
    x, y = np.round(coordinates.astype(np.float64), 4).T
    return pd.DataFrame({"model": model, "point": point, "x": x, "y": y})
