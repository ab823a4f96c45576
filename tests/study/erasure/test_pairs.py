from itertools import combinations

import numpy as np

from cure_study.erasure.pairs import enrolled_and_probes, forget_pairs, pairs_among

# Images 0 to 5 of person 7, 6 and 7 of person 8, 8 to 19 of people 9 and 10.
PEOPLE = np.array([7] * 6 + [8] * 2 + [9] * 6 + [10] * 6)
FORGET, OTHERS = np.arange(8), np.arange(8, 20)


def drawn(judged, genuine):
    pairs = judged.pairs
    kind = pairs.genuine == genuine
    return list(zip(pairs.left[kind].tolist(), pairs.right[kind].tolist(), strict=True))


def test_genuine_pairs_are_all_pairs_of_one_forgotten_person():
    """15 pairs among six images and one among two; there are more impostors than that."""
    genuine = drawn(forget_pairs(FORGET, OTHERS, PEOPLE, 0), True)
    expected = {*combinations(range(6), 2), (6, 7)}
    assert {tuple(sorted(pair)) for pair in genuine} == expected
    assert len(genuine) == 16


def test_impostor_pairs_are_one_forgotten_and_one_other_image():
    judged = forget_pairs(FORGET, OTHERS, PEOPLE, 0)
    impostor = drawn(judged, False)
    assert len(set(impostor)) == 16
    assert all(left in FORGET and right in OTHERS for left, right in impostor)
    assert judged.pairs.genuine.tolist() == [True, False] * 16
    assert (judged.people[0] == PEOPLE[judged.pairs.left]).all()


def test_images_of_a_person_who_partly_stays_are_no_impostors():
    people = PEOPLE.copy()
    people[8:14] = 7
    impostor = drawn(forget_pairs(FORGET, OTHERS, people, 0), False)
    assert all(people[left] != people[right] for left, right in impostor)


def test_the_same_seed_draws_the_same_pairs():
    first, again = (forget_pairs(FORGET, OTHERS, PEOPLE, 3) for _ in range(2))
    assert (first.pairs.right == again.pairs.right).all()


def test_too_few_pairs_are_none():
    assert forget_pairs(np.arange(6, 8), OTHERS, PEOPLE, 0) is None
    assert forget_pairs(np.array([0]), OTHERS, PEOPLE, 0) is None
    assert forget_pairs(FORGET, np.empty(0, np.int64), PEOPLE, 0) is None
    assert pairs_among(np.arange(8, 12), PEOPLE, 0) is None


def test_pairs_among_images_are_indices_of_the_folder():
    judged = pairs_among(OTHERS, PEOPLE, 0)
    assert set(judged.pairs.left) | set(judged.pairs.right) <= set(OTHERS.tolist())
    same = PEOPLE[judged.pairs.left] == PEOPLE[judged.pairs.right]
    assert (same == judged.pairs.genuine).all()


def test_half_of_each_persons_images_are_enrolled():
    """Six images: three and three; two: one and one; a single one is both."""
    index = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8])
    enrolled, probes = enrolled_and_probes(index, PEOPLE)
    assert enrolled.tolist() == [0, 1, 2, 6, 8]
    assert probes.tolist() == [3, 4, 5, 7, 8]
