import itertools

import numpy as np
import pytest
import torch

from cure_core.metrics.pairs import Pairs, draw_pairs, group_by_person, read_lfw_pairs, similarities

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


LFW = "2\t1\nAnn_Lee\t1\t4\nAnn_Lee\t1\tBob_Ray\t2\nCy_Dee\t2\t3\nBob_Ray\t1\tCy_Dee\t7\n"


def test_lfw_pairs_are_read_fold_by_fold(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text(LFW)
    assert read_lfw_pairs(path).values.tolist() == [
        ["Ann_Lee", 1, "Ann_Lee", 4, True, 0],
        ["Ann_Lee", 1, "Bob_Ray", 2, False, 0],
        ["Cy_Dee", 2, "Cy_Dee", 3, True, 1],
        ["Bob_Ray", 1, "Cy_Dee", 7, False, 1],
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Cy_Dee\t2\t3", "Cy_Dee\t2", r"pairs\.txt:4: expected 'name, i, j'"),
        ("Ann_Lee\t1\tBob_Ray\t2", "Ann_Lee\t1\t2", r"pairs\.txt:3: expected 'name, i, other"),
        ("Bob_Ray\t1\tCy_Dee\t7", "Bob_Ray\t1\tCy_Dee\tx", r"pairs\.txt:5: .*'Bob_Ray"),
        ("2\t1\n", "two\n", r"pairs\.txt:1: .*'two'"),
        ("2\t1\n", "2\t2\n", "announces 8 pairs, 4 lines follow"),
        (LFW, "", r"pairs\.txt:1: .*''"),
    ],
)
def test_malformed_lfw_pairs_are_refused_with_file_and_line(tmp_path, old, new, message):
    path = tmp_path / "pairs.txt"
    path.write_text(LFW.replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_lfw_pairs(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text + "\n\n  \n",
        lambda text: text.rstrip(),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("2\t1\n", "2 1\n"),
        lambda text: text.replace("\n", " \n").replace("\t", " \t"),
    ],
)
def test_lfw_pairs_may_come_from_another_editor(tmp_path, change):
    path = tmp_path / "pairs.txt"
    path.write_text(LFW)
    expected = read_lfw_pairs(path)
    path.write_bytes(change(LFW).encode())
    assert read_lfw_pairs(path).equals(expected)


def test_a_header_of_one_number_is_one_fold(tmp_path):
    """`pairsDevTest.txt`: 500 genuine pairs and 500 of impostors."""
    path = tmp_path / "pairsDevTest.txt"
    path.write_text("2\nAnn\t1\t4\nCy\t2\t3\nAnn\t1\tBob\t2\nBob\t1\tCy\t7\n")
    table = read_lfw_pairs(path)
    assert table.genuine.tolist() == [True, True, False, False]
    assert table.fold.tolist() == [0] * 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Cy_Dee\t2\t3", "Cy_Dee\t3\t3", r"pairs\.txt:4 pairs image 3 of Cy_Dee with itself"),
        ("\tBob_Ray\t2", "\tAnn_Lee\t2", r"txt:3 calls two images of Ann_Lee an impostor pair"),
        ("Bob_Ray", "Jos\N{LATIN SMALL LETTER E WITH ACUTE}", r"txt:3: not UTF-8 \(.*save it as"),
        ("\t4\n", "\t-4\n", r"pairs\.txt:2: expected 'name, i, j'"),
        ("\t4\n", "\t1_0\n", r"pairs\.txt:2: expected 'name, i, j'"),
        ("Cy_Dee\t2\t3", "\t2\t3", r"pairs\.txt:4: expected 'name, i, j'"),
        ("Cy_Dee\t2\t3\n", "\n", r"pairs\.txt:4: expected 'name, i, j' between tabs, got ''"),
        ("2\t1\n", "0\t0\n", "announces 0 pairs, 4 lines follow"),
        ("2\t1\n", "2\t1\t1\n", r"pairs\.txt:1: expected 'folds"),
        (LFW, "0\n", "announces 0 pairs, 0 lines follow"),
    ],
)
def test_impossible_lfw_pairs_are_refused_with_file_and_line(tmp_path, old, new, message):
    path = tmp_path / "pairs.txt"
    path.write_bytes(LFW.replace(old, new).encode("latin-1"))
    with pytest.raises(ValueError, match=message):
        read_lfw_pairs(path)


def test_an_impostor_pair_of_one_name_in_two_forms_of_unicode_is_refused(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text("1\t1\nA\t1\t2\nJos\u00e9\t1\tJose\u0301\t2\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"pairs\.txt:3 calls two images of"):
        read_lfw_pairs(path)


def test_similarities_are_cosines_for_tensors_and_arrays():
    corners = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.6, 0.8]])
    pairs = Pairs(np.array([0, 0, 0, 3]), np.array([1, 2, 3, 3]), np.array([False] * 4))
    for embeddings in (corners, corners.numpy(), corners.requires_grad_()):
        assert similarities(embeddings, pairs).tolist() == pytest.approx([0.0, -1.0, 0.6, 1.0])


def test_raw_embeddings_are_refused():
    pairs = Pairs(np.array([0]), np.array([1]), np.array([True]))
    with pytest.raises(ValueError, match=r"1 of 2 embeddings are not L2-normalised .*row 1.*5"):
        similarities(np.array([[1.0, 0.0], [3.0, 4.0]]), pairs)
