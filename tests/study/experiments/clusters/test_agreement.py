import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics

from cure_core.clustering import kmeans
from cure_study.experiments.clusters import agreement


def blobs(people=4, each=20, deviation=0.05):
    """Well separated people: samples around one point each."""
    rng = np.random.default_rng(0)
    centres = 3 * np.eye(people, 6)
    identities = np.repeat(np.arange(people), each)
    points = centres[identities] + rng.normal(0, deviation, (people * each, 6))
    return torch.from_numpy(points.astype(np.float32)), identities


def test_criteria_are_scikit_learns():
    x, _ = blobs(deviation=0.8)
    table = agreement.criteria(x, [3, 5], repeats=2).set_index(["k", "criterion"]).value
    for k in (3, 5):
        labels = kmeans(x, k).labels.numpy()
        assert table[k, "silhouette"] == pytest.approx(metrics.silhouette_score(x, labels))
        expected = metrics.calinski_harabasz_score(x, labels)
        assert table[k, "Calinski-Harabasz"] == pytest.approx(expected)
        expected = metrics.davies_bouldin_score(x, labels)
        assert table[k, "Davies-Bouldin"] == pytest.approx(expected)
        one, two = (kmeans(x, k, seed=seed).labels.numpy() for seed in (0, 1))
        expected = metrics.adjusted_rand_score(one, two)
        assert table[k, "stability over seeds"] == pytest.approx(expected)


def test_every_criterion_finds_well_separated_people():
    x, _ = blobs()
    table = agreement.criteria(x, [2, 3, 4, 6, 10])
    suggested = agreement.suggestions(table)
    for name in ("inertia", "silhouette", "Calinski-Harabasz", "Davies-Bouldin"):
        assert suggested[name] == 4, name
    at_four = table[table.k == 4].set_index("criterion").value
    stable = at_four[["stability over seeds", "stability over bootstrap"]]
    assert stable.tolist() == pytest.approx([1, 1])


def test_a_resample_with_fewer_distinct_samples_than_clusters_is_no_error():
    x, _ = blobs(people=2, each=5)
    table = agreement.criteria(x, [9], repeats=2)
    assert np.isfinite(table.value).all()


def test_the_elbow_by_hand():
    """Steep to 4, flat from there, on evenly spaced log K: the corner is deepest."""
    assert agreement.elbow([1, 2, 4, 8, 16], [100, 60, 20, 15, 10]) == 4


def test_the_grid_runs_from_two_to_half():
    grid = agreement.k_grid(64, points=5)
    assert grid == [2, 4, 8, 16, 32]
    assert agreement.k_grid(3) == [2]


def test_agreement_by_hand():
    """Clusters {a a b} and {b b}: four of five lie with their cluster's main person."""
    got = agreement.label_agreement([0, 0, 0, 1, 1], [0, 0, 1, 1, 1])
    assert got["purity"] == pytest.approx(4 / 5)
    truth, labels = [0, 0, 1, 1, 1], [0, 0, 0, 1, 1]
    assert got["NMI"] == pytest.approx(metrics.normalized_mutual_info_score(truth, labels))
    assert got["ARI"] == pytest.approx(metrics.adjusted_rand_score(truth, labels))
    assert got["completeness"] == pytest.approx(metrics.completeness_score(truth, labels))


def test_agreement_over_k():
    """One person a cluster at the true number: every measure is 1 there."""
    x, identities = blobs()
    table = agreement.agreement(x, identities, [2, 4])
    assert table[table.k == 4].value.tolist() == pytest.approx([1] * 5)
    halves = table[table.k == 2].set_index("criterion").value
    assert halves["purity"] == 0.5
    assert halves["completeness"] == pytest.approx(1)


def test_sizes_by_hand():
    table = agreement.cluster_sizes([5, 5, 5, 2, 2], [7, 7, 8, 8, 8])
    assert table.to_dict("list") == {
        "rank": [0, 1],
        "size": [3, 2],
        "main_person": [2, 2],
        "people": [2, 1],
    }


def test_a_suggestion_ignores_missing_values():
    values = {"k": [2, 3, 4], "criterion": "silhouette", "value": [0.1, np.nan, 0.3]}
    assert agreement.suggestions(pd.DataFrame(values)).silhouette == 4


def test_an_elbow_needs_two_numbers_of_clusters():
    with pytest.raises(ValueError, match="1 numbers of clusters"):
        agreement.elbow([2], [1.0])
