import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from cure_study.evaluation.features import first_of_each, nearest_centroid_features, view_features


def test_view_features_by_hand():
    plain = torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0], [0.0, 1.0]])
    mirrored = torch.tensor([[3.0, 4.0], [2.0, 0.0], [-1.0, 0.0], [1.0, 1.0]])
    table = view_features([plain, mirrored], people=[5, 5, 8, 8])
    assert table.columns.tolist() == ["log_norm", "view_1", "compactness"]
    assert table["log_norm"].tolist() == pytest.approx(np.log([5, 2, 1, 1]).tolist())
    assert table["view_1"].tolist() == pytest.approx([1, 0, -1, np.sqrt(0.5)], abs=1e-6)
    assert table["compactness"].tolist() == pytest.approx([0.8, 0.8, 0, 0], abs=1e-6)


@pytest.mark.parametrize("m", [1, 3, 8])
def test_compactness_agrees_with_a_naive_loop(m):
    rng = np.random.default_rng(0)
    people = rng.permutation(np.repeat([4, 1, 9], [2, 5, 12]))
    rows = rng.normal(size=(19, 6)) * rng.uniform(0.1, 10, size=(19, 1))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for n, person in enumerate(people):
        images = np.flatnonzero(people == person).tolist()
        at = images.index(n)
        others = (images[at + 1 :] + images[:at])[:m]
        centroid = unit[others].mean(axis=0)
        expected = unit[n] @ centroid / np.linalg.norm(centroid)
        assert view_features([rows], people, m)["compactness"][n] == pytest.approx(expected)


def test_unusable_views_are_refused():
    rows = np.ones((3, 2))
    with pytest.raises(ValueError, match=r"1 people have a single image \(first: 7\)"):
        view_features([rows], [1, 1, 7])
    assert view_features([rows], [1, 1, 7], m=0).columns.tolist() == ["log_norm"]
    with pytest.raises(ValueError, match="at least one view"):
        view_features([], [1, 1, 7])
    with pytest.raises(ValueError, match=r"\[\(2, 2\), \(3, 2\)\]"):
        view_features([rows, rows[:2]], [1, 1, 7])
    with pytest.raises(ValueError, match="view 1 of image 0 has a zero embedding"):
        view_features([rows, rows * 0], [1, 1, 1])
    with pytest.raises(ValueError, match="view 0 holds NaN"):
        view_features([rows * np.nan], [1, 1, 1])


def test_two_pairs_by_hand():
    """Two clusters, of images 20 degrees apart and of images 40 apart, at right angles.

    Without the image itself the centroid of its cluster is the other image. The other centroid is
    the middle of the other pair: 90 degrees from the image at 0, 70 from the one at 20.
    """
    angles = np.deg2rad([0, 20, 70, 110])
    table = nearest_centroid_features(np.stack([np.cos(angles), np.sin(angles)], axis=1), 2)
    near = np.cos(np.deg2rad([20, 20, 40, 40]))
    other = np.cos(np.deg2rad([90, 70, 60, 100]))
    assert table.nearest.tolist() == pytest.approx(near.tolist())
    assert table.margin.tolist() == pytest.approx((near - other).tolist())


def test_alone_in_a_cluster_only_other_clusters_count():
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [-0.6, -0.8]])
    table = nearest_centroid_features(rows * 5, 3)
    assert table.nearest.tolist() == pytest.approx([1, 1, 1, 1, -0.6])
    assert table.margin[4] == pytest.approx(-0.6 + 0.8)


def people_with_noise(noise, seed):
    """Forty people, eight images each, on random axes; `noise` (320,) spreads the images."""
    rng = np.random.default_rng(seed)
    faces = rng.normal(size=(40, 32)).repeat(8, axis=0)
    return faces + noise[:, None] * rng.normal(size=faces.shape)


def test_sharpened_members_are_nearer_to_their_centroid():
    member = np.arange(320) < 160
    table = nearest_centroid_features(people_with_noise(np.where(member, 0.4, 0.8), 0), 40)
    assert roc_auc_score(member, table.nearest) > 0.95


def test_similar_people_do_not_differ():
    member = np.arange(320) < 160
    tables = [
        nearest_centroid_features(people_with_noise(np.full(320, 0.6), k), 40) for k in (1, 2)
    ]
    aucs = [roc_auc_score(member, table[name]) for table in tables for name in table]
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.07)


def test_unusable_embeddings_are_refused():
    with pytest.raises(ValueError, match="embeddings holds NaN"):
        nearest_centroid_features(np.full((4, 2), np.nan), 2)
    with pytest.raises(ValueError, match="5"):
        nearest_centroid_features(np.eye(4), 5)


def test_the_first_of_each_person():
    people = [3, 1, 3, 3, 1, 2]
    assert first_of_each(people, 2).tolist() == [True, True, True, False, True, True]
