import numpy as np
import pandas as pd
import torch

from cure_core.clustering import KMeansResult
from cure_study.experiments.maps import tables as map_tables


def joint(models=("before", "after", "oracle")):
    """Four points a model: x is the point's number, y the model's."""
    return pd.DataFrame(
        [(m, p, float(p), float(i)) for i, m in enumerate(models) for p in range(4)],
        columns=["model", "point", "x", "y"],
    )


POINTS = pd.DataFrame(
    {"point": range(4), "set": ["forget"] * 3 + ["retain"], "row": [0, 2, 4, 1],
     "image": [10, 12, 14, 21], "change": [0.1, 0.4, 0.3, 0.0]}
)  # fmt: skip


def test_points_are_evenly_spaced_and_small_sets_are_whole():
    sets = {"forget": np.arange(100, 109), "retain": np.array([5, 6])}
    table = map_tables.choose_points(sets, {"forget": 3, "retain": 8})
    assert table.point.tolist() == [0, 1, 2, 3, 4]
    assert table.row.tolist() == [0, 4, 8, 0, 1]
    assert table.image.tolist() == [100, 104, 108, 5, 6]


def test_the_largest_changes_are_drawn():
    table = map_tables.move_table(joint().merge(POINTS, on="point"), POINTS.change, arrows=2)
    assert table[table.drawn].point.tolist() == [1, 2]
    assert table[["y", "y_after"]].drop_duplicates().to_numpy().tolist() == [[0, 1]]


def clusters():
    centroids = torch.tensor([[0.0], [10.0]])
    labels = torch.tensor([0, 1, 0, 1, 1])  # rows 0, 2 and 4 are shown
    result = KMeansResult(centroids, labels, 0.0, 1)
    spaces = {m: np.array([[1.0], [0.5], [9.0], [3.0]]) for m in ("before", "after")}
    return map_tables.cluster_table(joint(), spaces, POINTS, {"before": result, "after": result})


def test_clusters_follow_the_rows_of_the_whole_set():
    """Of the two shown of cluster 0, the one at 0.5 is nearer to its centroid than that at 1."""
    before = clusters().query("model == 'before'")
    assert before.cluster.tolist() == [0, 0, 1]
    assert before.centre.tolist() == [False, True, True]
    assert before.x.tolist() == [0, 1, 2]


def test_the_explorer_gets_a_row_a_point():
    attributes = pd.DataFrame({"quality": np.arange(30) / 30})
    table = map_tables.explorer_table(joint(), clusters(), POINTS, attributes)
    assert table.cluster.tolist() == ["00", "00", "01", "none"]
    assert table.quality.tolist() == [0.333, 0.4, 0.467, 0.7]
    assert table[["x_before", "y_after"]].to_numpy().tolist() == [[0, 1], [1, 1], [2, 1], [3, 1]]
    assert "quality" not in map_tables.explorer_table(joint(), clusters(), POINTS)
