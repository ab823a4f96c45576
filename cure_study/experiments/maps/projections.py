"""Maps of embedding spaces in two dimensions, and how far each can be trusted."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from openTSNE import TSNE
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

Spaces = Mapping[str, np.ndarray]  # a model's name to its embeddings (N, D), the same N rows each

# For the same numbers from the same embeddings; it limits the libraries imported by now.
one_thread = threadpool_limits.wrap(limits=1)


def residual(source: np.ndarray, target: np.ndarray) -> float:
    """|A - B| / |B| of two spaces (N, D), by Frobenius norms: 0 if equal, sqrt(2) if unrelated."""
    return float(np.linalg.norm(source - target) / np.linalg.norm(target))


@one_thread
def joint_tsne(spaces: Spaces, seed: int = 0, perplexity: float = 30) -> pd.DataFrame:
    """One map fitted to all spaces together: model, point (row of the space), x, y.

    openTSNE from a PCA start, by one thread.
    """
    return _table(spaces, _tsne(np.concatenate(list(spaces.values())), seed, perplexity))


@one_thread
def placed_tsne(spaces: Spaces, seed: int = 0, perplexity: float = 30) -> pd.DataFrame:
    """The map of the first space, with the points of the others placed into it.

    A point can only be placed among those of the first space: it cannot show movement into a region
    where that space is empty. Columns as `joint_tsne`.
    """
    first, *others = spaces.values()
    embedding = _tsne(first, seed, perplexity)
    return _table(spaces, np.concatenate([embedding, *map(embedding.transform, others)]))


def map_quality(spaces: Spaces, table: pd.DataFrame, neighbours: int = 15) -> pd.DataFrame:
    """A row a model: trustworthiness, and the share of neighbours in the space kept in the map.

    Trustworthiness (Venna and Kaski 2001) is 1 if all neighbours in the map are neighbours in the
    space, about 1/2 for a random map; `preserved` is the mean share of a point's nearest
    `neighbours` (fewer in a small set) that are also its nearest in the map, `chance` what a random
    map would keep.
    """
    rows = {}
    for model, x in spaces.items():
        k = min(neighbours, (len(x) - 1) // 2)
        places = table[table.model == model].sort_values("point")[["x", "y"]].to_numpy()
        in_space, in_map = (
            NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)
            for points in (x, places)
        )
        kept = [len(np.intersect1d(a, b)) / k for a, b in zip(in_space, in_map, strict=True)]
        rows[model] = {
            "trustworthiness": trustworthiness(x, places, n_neighbors=k),
            "preserved": np.mean(kept),
            "chance": k / (len(x) - 1),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _tsne(x: np.ndarray, seed: int, perplexity: float) -> Any:
    """openTSNE's embedding of x (N, D): an array (N, 2) that can place other points."""
    perplexity = min(perplexity, (len(x) - 1) / 3)
    options = {"initialization": "pca", "neighbors": "exact", "n_jobs": 1}
    return TSNE(perplexity=perplexity, random_state=seed, **options).fit(x)


def _table(spaces: Spaces, coordinates: np.ndarray) -> pd.DataFrame:
    """Coordinates rounded to four digits after the point: what is saved is what is drawn."""
    model = np.repeat(list(spaces), [len(x) for x in spaces.values()])
    point = np.concatenate([np.arange(len(x)) for x in spaces.values()])
    x, y = np.round(np.asarray(coordinates, dtype=np.float64), 4).T
    return pd.DataFrame({"model": model, "point": point, "x": x, "y": y})
