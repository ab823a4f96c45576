import numpy as np
import pytest
import torch
from scipy.stats import ortho_group
from sklearn.preprocessing import normalize

from cure_study.evaluation.procrustes import rotation


def unit(n, dim, seed):
    return normalize(np.random.default_rng(seed).normal(size=(n, dim)))


def test_a_rotation_is_found_and_undone():
    teacher, turn = unit(40, 6, 0), ortho_group.rvs(6, random_state=1)
    student = teacher @ turn.T
    found = rotation(torch.from_numpy(student[:30]), teacher[:30])
    np.testing.assert_allclose(found, turn, atol=1e-9)
    np.testing.assert_allclose(student[30:] @ found, teacher[30:], atol=1e-9)


def test_a_rotation_finds_nothing_between_spaces_apart():
    """Chance, not fit: on unseen images the mean cosine is that of random directions, 0."""
    teacher, student = unit(2000, 16, 0), unit(2000, 16, 1)
    turn = rotation(student[:1000], teacher[:1000])
    np.testing.assert_allclose(turn @ turn.T, np.eye(16), atol=1e-9)
    cosines = (student[1000:] @ turn * teacher[1000:]).sum(axis=1)
    assert abs(cosines.mean()) < 0.03  # deviation 1 / sqrt(16 * 1000) = 0.008


def test_rows_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match=r"source is \(3, 2\) and target \(2, 2\)"):
        rotation(np.ones((3, 2)), np.ones((2, 2)))
