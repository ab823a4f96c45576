import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from cure_core.metrics.discard import (
    discard_table,
    error_versus_discard,
    genuine_pairs,
    partial_area,
    utility,
)
from cure_core.metrics.pairs import Pairs


def test_by_hand():
    """Five images; those of pairs (0, 1) and (2, 3) fail, 1 and 2 are the poorest."""
    pairs = Pairs(
        np.array([0, 2, 0, 3, 0]), np.array([1, 3, 3, 4, 2]), np.array([1, 1, 1, 1, 0]) > 0
    )
    scores = np.array([0.1, 0.2, 0.9, 0.8, 0.7])
    curve = error_versus_discard(
        scores, pairs, [5, 1, 2, 4, 3], threshold=0.5, fractions=[0, 0.2, 0.4, 0.8]
    )
    assert curve.discarded.tolist() == [0, 0.2, 0.4, 0.8]
    np.testing.assert_allclose(curve.fnmr, [2 / 4, 1 / 3, 0, np.nan])


def test_a_score_at_the_threshold_fails_as_everywhere_here():
    pairs = Pairs(np.array([0, 2]), np.array([1, 3]), np.array([True, True]))
    curve = error_versus_discard([0.5, 0.6], pairs, np.ones(4), threshold=0.5, fractions=[0])
    assert curve.fnmr.tolist() == [0.5]


def test_area_by_hand():
    """A flat curve is 1, a straight fall to nothing 1/2, a rise above 1."""
    at = [0, 0.1, 0.2]
    for fnmr, area in (([0.4, 0.4, 0.4], 1), ([0.4, 0.2, 0], 0.5), ([0.4, 0.6, 0.8], 1.5)):
        assert partial_area(pd.DataFrame({"discarded": at, "fnmr": fnmr})) == pytest.approx(area)
    assert np.isnan(partial_area(pd.DataFrame({"discarded": at, "fnmr": [0, 0, 0]})))


def test_utility_is_the_mean_similarity_to_ones_others():
    people = np.array([0, 0, 0, 1, 1, 2])
    rows = F.normalize(torch.randn(6, 5, generator=torch.Generator().manual_seed(0)))
    naive = []
    for i in range(6):
        others = [float(rows[i] @ rows[j]) for j in range(6) if j != i and people[i] == people[j]]
        naive.append(np.mean(others) if others else 0)
    np.testing.assert_allclose(utility(rows, people), naive, atol=1e-6)


def test_genuine_pairs_are_all_there():
    people = np.array([3, 1, 3, 3, 1, 9])
    pairs = genuine_pairs(people)
    found = {frozenset(p) for p in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)}
    assert found == {frozenset(p) for p in ((0, 2), (0, 3), (2, 3), (1, 4))}


def test_the_oracle_is_best_a_reversed_oracle_worst_and_random_flat():
    """Embeddings around their person's direction, some images far from it."""
    generator = torch.Generator().manual_seed(0)
    people = np.repeat(np.arange(30), 8)
    centres = F.normalize(torch.randn(30, 32, generator=generator))
    spread = 0.05 + 0.4 * torch.rand(240, 1, generator=generator) ** 3
    rows = F.normalize(centres[people] + spread * torch.randn(240, 32, generator=generator))
    orderings = {"spread": -spread[:, 0].numpy(), "wrong": spread[:, 0].numpy()}
    area = discard_table(rows, people, orderings).groupby("scorer").area.first()
    assert area["oracle"] < 0.75
    assert area["spread"] < 0.75
    assert area["wrong"] > 1.05
    assert abs(area["random"] - 1) < 0.1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scores": [0.1]}, "1 scores for 2 pairs"),
        ({"quality": [1, np.nan, 1]}, "quality holds NaN"),
        ({"fractions": [0, 1]}, "from 0 to below 1"),
        ({"genuine": [False, False]}, "no genuine pair"),
    ],
)
def test_wrong_arguments_are_named(changed, message):
    given = {"scores": [0.1, 0.2], "quality": [1, 2, 3], "fractions": [0], "genuine": [True, False]}
    given |= changed
    pairs = Pairs(np.array([0, 1]), np.array([1, 2]), np.array(given.pop("genuine")))
    with pytest.raises(ValueError, match=message):
        error_versus_discard(
            given["scores"], pairs, given["quality"], threshold=0, fractions=given["fractions"]
        )
