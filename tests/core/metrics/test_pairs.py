import itertools

import numpy as np
import pytest
import torch

from cure_core.metrics.pairs import Pairs, draw_pairs, group_by_person, similarities

PEOPLE = np.array([7, 3, 7, 9, 3, 7, 9, 9, 1])


def as_sets(pairs: Pairs) -> list[frozenset[int]]:
    return [frozenset(pair) for pair in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)]


def test_pairs_show_their_size_and_keep_order_when_selected():
    pairs = Pairs(np.array([0, 1, 2]), np.array([3, 4, 5]), np.array([True, False, True]))
    assert repr(pairs) == "3 pairs, 2 genuine"
    kept = pairs.select(pairs.genuine)
    assert len(kept) == 2
    assert kept.left.tolist() == [0, 2]
    assert kept.right.tolist() == [3, 5]


def test_pairs_of_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="2, 1 and 2"):
        Pairs(np.array([0, 1]), np.array([2]), np.array([True, False]))


def test_group_by_person_meets_every_pair_once_and_in_its_kind():
    order, start = group_by_person(PEOPLE)
    genuine = [{order[q], order[p]} for p in range(9) for q in range(start[p], p)]
    impostor = [{order[q], order[p]} for p in range(9) for q in range(start[p])]
    every = [{a, b} for a, b in itertools.combinations(range(9), 2)]
    assert sorted(map(sorted, genuine)) == sorted(
        sorted(pair) for pair in every if len({PEOPLE[i] for i in pair}) == 1
    )
    assert sorted(map(sorted, genuine + impostor)) == sorted(map(sorted, every))


def test_drawn_pairs_are_distinct_and_labelled_by_person():
    pairs = draw_pairs(PEOPLE, n_each=5, seed=0)
    assert len(pairs) == 10
    assert len(set(as_sets(pairs))) == 10
    assert (pairs.genuine == (PEOPLE[pairs.left] == PEOPLE[pairs.right])).all()
    assert (pairs.left != pairs.right).all()


def test_too_few_pairs_of_a_kind_cut_both():
    # 7: 3 images, 3: 2, 9: 3, 1: 1, so 3 + 1 + 3 = 7 genuine pairs; 36 - 7 = 29 impostor pairs.
    pairs = draw_pairs(PEOPLE, n_each=1000, seed=0)
    assert repr(pairs) == "14 pairs, 7 genuine"
    # 10 images of one person and one stranger: 45 genuine pairs, 10 impostor pairs.
    assert repr(draw_pairs([0] * 10 + [1], 1000, seed=0)) == "20 pairs, 10 genuine"


def test_contiguous_folds_are_half_genuine_and_in_random_order():
    people = np.repeat(np.arange(20), 10)
    pairs = draw_pairs(people, n_each=300, seed=1)
    for fold in np.array_split(pairs.genuine, 10):
        assert fold.sum() * 2 == len(fold)
    assert len(np.unique(people[pairs.left[pairs.genuine][:30]])) > 8


def test_every_pair_is_as_likely_as_another():
    people = np.array([0, 0, 0, 1, 1])  # 4 genuine pairs, 6 impostor pairs
    counts: dict[frozenset[int], int] = {}
    for seed in range(3000):
        for pair in as_sets(draw_pairs(people, n_each=1, seed=seed)):
            counts[pair] = counts.get(pair, 0) + 1
    for pair in itertools.combinations(range(5), 2):
        kind = 4 if people[pair[0]] == people[pair[1]] else 6
        assert counts[frozenset(pair)] == pytest.approx(3000 / kind, rel=0.15)  # > 3 sigma


def test_drawing_is_repeatable_and_depends_on_the_seed():
    people = np.repeat(np.arange(10), 5)
    first, again, other = (as_sets(draw_pairs(people, 40, seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.parametrize("people", [[1, 2, 3], [4, 4, 4], []])
def test_one_kind_of_pair_alone_is_refused(people):
    with pytest.raises(ValueError, match=f"{len(people)} images"):
        draw_pairs(people, n_each=5, seed=0)


def test_drawing_no_pairs_is_refused():
    with pytest.raises(ValueError, match="n_each is 0"):
        draw_pairs(PEOPLE, n_each=0, seed=0)


def test_similarities_are_cosines_for_tensors_and_arrays():
    corners = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.6, 0.8]])
    pairs = Pairs(np.array([0, 0, 0, 3]), np.array([1, 2, 3, 3]), np.array([False] * 4))
    for embeddings in (corners, corners.numpy(), corners.requires_grad_()):
        assert similarities(embeddings, pairs).tolist() == pytest.approx([0.0, -1.0, 0.6, 1.0])


def test_raw_embeddings_are_refused():
    pairs = Pairs(np.array([0]), np.array([1]), np.array([True]))
    with pytest.raises(ValueError, match=r"1 of 2 embeddings are not L2-normalised .*row 1.*5"):
        similarities(np.array([[1.0, 0.0], [3.0, 4.0]]), pairs)
