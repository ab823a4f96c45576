"""Tables for the figures of notebook 04: which points are shown, and what is known of each."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from cure_core.clustering import KMeansResult
from cure_study.experiments.maps.projections import Spaces


def choose_points(sets: Mapping[str, np.ndarray], most: Mapping[str, int]) -> pd.DataFrame:
    """At most so many images of each set, evenly spaced: point, set, row (in the set), image."""
    parts = []
    for name, index in sets.items():
        count = min(len(index), most.get(name, len(index)))
        rows = np.linspace(0, len(index) - 1, count).round().astype(int)
        parts.append(pd.DataFrame({"set": name, "row": rows, "image": index[rows]}))
    return pd.concat(parts, ignore_index=True).rename_axis("point").reset_index()


def move_table(joint: pd.DataFrame, change: pd.Series, arrows: int) -> pd.DataFrame:
    """Where each point lies before and after, and its change; `drawn` are the largest changes.

    `change` by point, measured in the embedding space. Columns: point, set, x, y, x_after,
    y_after, change, drawn.
    """
    key = ["point", "set"]
    before, after = (joint[joint.model == m][[*key, "x", "y"]] for m in ("before", "after"))
    table = before.merge(after, on=key, suffixes=("", "_after"))
    table["change"] = table.point.map(change).round(4)
    table["drawn"] = table.change.rank(method="first", ascending=False) <= arrows
    return table


def cluster_table(
    joint: pd.DataFrame,
    spaces: Spaces,
    points: pd.DataFrame,
    clusterings: Mapping[str, KMeansResult],
) -> pd.DataFrame:
    """The forget points on the joint map with their clusters: model, point, cluster, centre, x, y.

    `clusterings`, by model, are of the whole forget set; `centre` marks the point shown that is
    nearest to its cluster's centroid in the embedding space.
    """
    forget = points[points.set == "forget"]
    parts = []
    for model, clustering in clusterings.items():
        labels = clustering.labels.numpy()[forget.row]
        offset = spaces[model][forget.point] - clustering.centroids.numpy()[labels]
        part = pd.DataFrame({"model": model, "point": forget.point.to_numpy(), "cluster": labels})
        distance = pd.Series(np.linalg.norm(offset, axis=1))
        part["centre"] = part.index.isin(distance.groupby(labels).idxmin())
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    return table.merge(joint[["model", "point", "x", "y"]], on=["model", "point"])


def explorer_table(
    joint: pd.DataFrame,
    clusters: pd.DataFrame,
    points: pd.DataFrame,
    attributes: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """A row a point for the explorer: its places before and after, set, cluster, change, quality.

    `points` holds set, image and change; the cluster is the teacher's, "none" outside the forget
    set; the quality is SynthFaces' true one, and absent for other data sets.
    """
    places = joint.pivot_table(index="point", columns="model", values=["x", "y"])
    places.columns = ["_".join(names) for names in places.columns.to_flat_index()]
    table = places.join(points.set_index("point")[["set", "change", "image"]])
    labels = clusters[clusters.model == "before"].set_index("point").cluster.map("{:02d}".format)
    table["change"] = table.change.astype(float).round(3)
    table["cluster"] = labels.reindex(table.index).fillna("none")
    table = table.astype({"set": "category", "cluster": "category"})
    if attributes is not None and "quality" in attributes:
        table["quality"] = attributes["quality"].to_numpy(float).round(3)[table.image]
    return table.reset_index()
