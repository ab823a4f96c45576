import itertools

import pytest
import torch

from cure_core.clustering import farthest_centroid
from cure_study.experiments.clusters import farthest_map

# Three next to each other and one remote: the remote one is the farthest from all three.
HUB = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [9.0, 9.0]])


def test_the_one_to_one_map_is_the_best_of_all_permutations():
    centroids = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    distance = torch.cdist(centroids, centroids)
    best = max(
        sum(float(distance[k, target]) for k, target in enumerate(permutation))
        for permutation in itertools.permutations(range(5))
        if all(k != target for k, target in enumerate(permutation))
    )
    targets = farthest_map.target_maps(centroids)["one_to_one"]
    assert sorted(targets.tolist()) == [0, 1, 2, 3, 4]
    assert float(distance[torch.arange(5), targets].sum()) == pytest.approx(best)


def test_hubness_by_hand():
    """All three neighbours are sent to the remote cluster, which goes to the corner (0, 0)."""
    labels = torch.tensor([0, 0, 1, 2, 3])
    targets = farthest_centroid(HUB)
    assert targets.tolist() == [3, 3, 3, 0]
    got = farthest_map.hubness(HUB, targets, labels)
    distances = [162**0.5, 162**0.5, 145**0.5, 145**0.5, 162**0.5]
    assert got == {
        "targets used": 2,
        "clusters on one target": 3,
        "share of samples on one target": pytest.approx(0.8),
        "mean distance": pytest.approx(sum(distances) / 5),
    }


def test_the_table_numbers_hubs_first_and_keeps_every_pair():
    table = farthest_map.map_table(HUB, farthest_map.target_maps(HUB))
    assert len(table) == 12
    assert (table.cluster != table.target).all()
    sent = table[table.farthest].groupby("target").size()
    assert sent.to_dict() == {0: 3, 1: 1}  # the remote one is now number 0, the corner number 1
    assert table[table.farthest].set_index("cluster").target.to_dict() == {0: 1, 1: 0, 2: 0, 3: 0}
    assert sorted(table[table.one_to_one].target) == [0, 1, 2, 3]
    distance = table[(table.cluster == 0) & (table.target == 1)].distance.item()
    assert distance == pytest.approx(162**0.5, abs=1e-4)


def test_near_and_far_by_hand():
    """On a line, from the centroid 0: two nearest rising, two farthest falling; a pair is split."""
    x = torch.tensor([[0.1], [5.0], [-1.0], [2.0], [-3.0], [100.0], [101.0]])
    labels = torch.tensor([0, 0, 0, 0, 0, 1, 1])
    table = farthest_map.near_and_far(x, torch.tensor([[0.0], [100.0]]), labels, each=2)
    found = table.groupby(["cluster", "kind"])["sample"].apply(list).to_dict()
    assert found == {
        (0, "nearest"): [0, 2],
        (0, "farthest"): [1, 4],
        (1, "nearest"): [5],
        (1, "farthest"): [6],
    }
    assert table.distance.tolist() == pytest.approx([0.1, 1, 5, 3, 0, 1])
