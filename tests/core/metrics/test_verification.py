from fractions import Fraction

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve

from cure_core.metrics.pairs import draw_pairs, similarities
from cure_core.metrics.verification import (
    all_pairs,
    best_threshold,
    equal_error_rate,
    roc,
    tar_at_far,
    ten_fold_accuracy,
    ten_folds,
)


def naive_tar_at_far(genuine, impostor, far):
    """Try every threshold that can matter, from the lowest."""
    for threshold in [-np.inf, *sorted({*genuine, *impostor})]:
        if sum(s > threshold for s in impostor) / len(impostor) <= far:
            return sum(s > threshold for s in genuine) / len(genuine)
    raise AssertionError("no threshold reaches the FAR")


def tied_scores(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping scores with many ties within and across the kinds."""
    rng = np.random.default_rng(seed)
    return rng.integers(3, 12, n) / 10, rng.integers(0, 9, n + 11) / 10


def test_tar_at_far_by_hand():
    genuine = [0.9, 0.8, 0.5, 0.3]
    impostor = [0.7, 0.6, 0.4, 0.2, 0.1, 0.0, -0.1, -0.2, -0.3, -0.4]
    assert tar_at_far(genuine, impostor, 0.1) == 0.5  # threshold 0.6
    assert tar_at_far(genuine, impostor, 0.2) == 0.75  # threshold 0.4
    assert tar_at_far(genuine, impostor, 0.29) == 0.75  # still only two of ten may pass
    assert tar_at_far(genuine, impostor, 0.05) == 0.5  # none may pass: threshold 0.7
    assert tar_at_far(genuine, impostor, 0.0) == 0.5


def test_far_is_met_exactly_where_floating_point_rounds_down():
    # 0.29 * 100 = 28.999999999999996, yet 29 of 100 impostors is a share of 0.29.
    assert tar_at_far([70.5], np.arange(100.0), 0.29) == 1.0
    assert tar_at_far([69.5], np.arange(100.0), 0.29) == 0.0


def test_ties_at_the_threshold_are_rejected():
    # One of four may pass, but two share the second-highest score: the threshold is that score.
    assert tar_at_far([0.5, 0.6], [0.7, 0.5, 0.5, 0.1], 0.25) == 0.5
    assert tar_at_far([0.5, 0.6], [0.5, 0.5, 0.5, 0.1], 0.25) == 0.5


@pytest.mark.parametrize("far", [0.0, 1e-3, 0.5, 0.999])
def test_constant_scores_give_no_true_accepts(far):
    assert tar_at_far(np.full(10, 0.3), np.full(20, 0.3), far) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_tar_at_far_agrees_with_trying_every_threshold(seed):
    genuine, impostor = tied_scores(seed)
    for far in (0, 0.01, 0.1, 0.3, 0.5, 0.9):
        assert tar_at_far(genuine, impostor, far) == naive_tar_at_far(genuine, impostor, far)


def test_mixed_precisions_and_tensors_compare_at_the_finer():
    # In float32 a third is 0.333333343, a little above the float64 one.
    assert tar_at_far(torch.tensor([1 / 3]), np.array([1 / 3]), 0.0) == 1.0
    assert equal_error_rate(torch.tensor([1 / 3]), np.array([1 / 3])) == 0.0


@pytest.mark.parametrize("far", [-0.1, 1.0, float("nan")])
def test_far_outside_its_range_is_refused(far):
    with pytest.raises(ValueError, match=f"far is {far}"):
        tar_at_far([1.0], [0.0], far)


@pytest.mark.parametrize("measure", [lambda g, i: tar_at_far(g, i, 0.1), equal_error_rate, roc])
def test_nan_and_empty_scores_are_refused_by_name(measure):
    with pytest.raises(ValueError, match=r"impostor holds NaN \(first at \[1\]\)"):
        measure([0.5], [0.1, np.nan])
    with pytest.raises(ValueError, match="genuine is empty"):
        measure([], [0.1])
    with pytest.raises(ValueError, match=r"genuine has shape \(1, 1\)"):
        measure([[0.5]], [0.1])


@pytest.mark.parametrize("seed", range(5))
def test_roc_agrees_with_scikit_learn_and_with_tar_at_far(seed):
    genuine, impostor = tied_scores(seed)
    curve = roc(genuine, impostor)
    labels = np.repeat([1, 0], [len(genuine), len(impostor)])
    far, tar, _ = roc_curve(labels, np.concatenate([genuine, impostor]), drop_intermediate=False)
    ours = set(zip(curve["far"].round(9), curve["tar"].round(9), strict=True))
    theirs = set(zip(far.round(9), tar.round(9), strict=True))
    assert ours <= theirs
    assert {tar for _, tar in ours} == {tar for _, tar in theirs}
    assert np.trapezoid(curve["tar"], curve["far"]) == pytest.approx(np.trapezoid(tar, far))
    for level in (0, 0.05, 0.2, 0.6):
        reached = curve["tar"][curve["far"] <= level].max()
        assert reached == pytest.approx(tar_at_far(genuine, impostor, level))


def test_roc_thresholds_mean_what_they_say():
    genuine, impostor = (scores.astype(np.float32) for scores in tied_scores(0))
    for threshold, far, tar in roc(genuine, impostor).itertuples(index=False):
        assert far == pytest.approx(np.mean(impostor > threshold))
        assert tar == pytest.approx(np.mean(genuine > threshold))


def test_roc_runs_from_none_to_all():
    curve = roc([0.2, 0.9], [0.1, 0.5])
    assert curve[["far", "tar"]].iloc[0].tolist() == [0, 0]
    assert curve[["far", "tar"]].iloc[-1].tolist() == [1, 1]
    assert curve["threshold"].is_monotonic_decreasing
    assert curve["far"].is_monotonic_increasing
    assert curve["tar"].is_monotonic_increasing


def test_equal_error_rate_by_hand():
    assert equal_error_rate([0.9, 0.8], [0.2, 0.1]) == 0.0
    assert equal_error_rate([0.2, 0.1], [0.9, 0.8]) == 1.0
    assert equal_error_rate([0.9, 0.4], [0.5, 0.1]) == pytest.approx(0.5)
    assert equal_error_rate([4, 3, 2, 0], [-1, -2, -3, 1]) == pytest.approx(0.25)
    # (FAR, FRR) goes (0, 1/2) -> (1/2, 1/2) at the tie, then (1/2, 0).
    assert equal_error_rate([2, 1], [1, 0]) == pytest.approx(1 / 4)


def test_equal_error_rate_of_constant_scores_is_a_half():
    assert equal_error_rate(np.ones(3), np.ones(100)) == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(5))
def test_equal_error_rate_agrees_with_scikit_learn_and_is_symmetric(seed):
    genuine, impostor = tied_scores(seed)
    labels = np.repeat([1, 0], [len(genuine), len(impostor)])
    far, tar, _ = roc_curve(labels, np.concatenate([genuine, impostor]), drop_intermediate=False)
    grid = np.linspace(0, 1, 100_001)
    crossing = grid[np.argmin(np.abs(grid - (1 - np.interp(grid, far, tar))))]
    assert equal_error_rate(genuine, impostor) == pytest.approx(crossing, abs=2e-5)
    assert equal_error_rate(-impostor, -genuine) == pytest.approx(crossing, abs=2e-5)


def test_ten_folds_are_contiguous_and_even():
    assert ten_folds(20).tolist() == np.repeat(np.arange(10), 2).tolist()
    assert np.bincount(ten_folds(23)).tolist() == [3, 3, 3, 2, 2, 2, 2, 2, 2, 2]


def test_separable_scores_are_all_right():
    labels = np.tile([True, False], 50)
    assert ten_fold_accuracy(np.where(labels, 0.8, 0.2), labels) == 1.0
    assert ten_fold_accuracy(torch.tensor(labels).float(), torch.tensor(labels)) == 1.0


def test_random_scores_are_at_chance():
    rng = np.random.default_rng(0)
    labels = np.tile([True, False], 5000)
    assert ten_fold_accuracy(rng.normal(size=10_000), labels) == pytest.approx(0.5, abs=0.02)


def test_gaussian_scores_reach_the_best_possible_accuracy():
    # Two unit Gaussians two apart: the best threshold is half-way, and is right in Phi(1).
    rng = np.random.default_rng(0)
    labels = np.tile([True, False], 5000)
    scores = rng.normal(size=10_000) + 2 * labels
    assert ten_fold_accuracy(scores, labels) == pytest.approx(0.8413, abs=0.01)


@pytest.mark.parametrize("share", [0.5, 0.2, 0.8])
def test_constant_scores_are_at_chance_however_unbalanced_the_folds(share):
    rng = np.random.default_rng(0)
    labels = rng.random(500) < share
    assert ten_fold_accuracy(np.full(500, 0.4), labels) == 0.5


def test_each_fold_is_decided_by_the_others_alone():
    # Nine folds separate at 0.5; in the tenth everything is turned round, so it is all wrong.
    labels = np.tile([True, False], 50)
    scores = np.where(labels, 0.9, 0.1)
    scores[90:] = np.where(labels[90:], 0.1, 0.9)
    assert ten_fold_accuracy(scores, labels) == pytest.approx(0.9)


def test_half_genuine_folds_give_lfws_mean_of_plain_accuracies():
    rng = np.random.default_rng(3)
    labels = np.tile([True, False], 100)
    scores = rng.integers(0, 20, 200) / 10 + labels
    plain = []
    for fold in np.array_split(np.arange(200), 10):
        rest = np.setdiff1d(np.arange(200), fold)
        cuts = [-1.0, *np.unique(scores[rest])]
        best = max(cuts, key=lambda cut: np.mean((scores[rest] > cut) == labels[rest]))
        plain.append(np.mean((scores[fold] > best + 1e-6) == labels[fold]))
    assert ten_fold_accuracy(scores, labels) == pytest.approx(np.mean(plain))


def test_given_folds_replace_contiguous_ones():
    # The second fold is the first one moved up by 10, so each is judged at a threshold that
    # suits only the other: the first rejects all (0 of 8 genuine right, 8 of 8 impostors), the
    # second accepts all (4 of 4, 0 of 4), which is (4 / 12 + 8 / 12) / 2 over both.
    labels = np.tile([True, False], 12)
    second = np.arange(24) % 3 == 0
    scores = np.where(labels, 0.9, 0.1) + 10 * second
    assert ten_fold_accuracy(scores, labels, folds=second.astype(int)) == pytest.approx(0.5)
    assert ten_fold_accuracy(scores - 10 * second, labels, folds=second.astype(int)) == 1.0


@pytest.mark.parametrize(
    ("scores", "labels", "folds", "message"),
    [
        (np.ones(5), np.array([True, False, True, False, True]), None, "5 pairs do not fill"),
        (np.ones(12), np.ones(12, dtype=bool), None, "all 12 labels are True"),
        (np.ones(12), np.ones(12), None, "labels is float64"),
        (np.ones(12), np.tile([True, False], 5), None, r"bool \(10,\); expected bool \(12,\)"),
        (np.full(12, np.nan), np.tile([True, False], 6), None, "scores holds NaN"),
        (np.ones(12), np.tile([True, False], 6), np.zeros(12), "all pairs are in fold 0"),
        (np.ones(12), np.tile([True, False], 6), np.zeros(3), "folds holds 3 numbers for 12"),
    ],
)
def test_unusable_pairs_are_refused(scores, labels, folds, message):
    with pytest.raises(ValueError, match=message):
        ten_fold_accuracy(scores, labels, folds)


def test_best_threshold_lies_half_way():
    assert best_threshold([0.0, 1.0, 3.0], np.array([False, False, True])) == 2.0
    assert best_threshold([3.0, 1.0], np.array([False, True])) == -np.inf


def test_of_equally_good_thresholds_the_lowest_is_taken():
    """By exact fractions: shares of 3, 7 or 11 round, and rounding must not choose."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        labels = rng.random(int(rng.integers(20, 60))) < 0.5
        scores = np.round(rng.normal(0.7 * labels, 1), 1)
        values = np.unique(scores)
        gain = [
            Fraction(int((scores[~labels] <= v).sum()), int((~labels).sum()))
            - Fraction(int((scores[labels] <= v).sum()), int(labels.sum()))
            for v in values
        ]
        k = gain.index(max(gain))
        last = k == len(values) - 1
        expected = values[k] if last else (values[k] + values[k + 1]) / 2
        expected = -np.inf if gain[k] <= 0 else expected
        assert best_threshold(scores, labels) == pytest.approx(expected)


def test_best_threshold_between_neighbouring_floats_still_separates():
    low = 1 + np.finfo(float).eps
    scores = np.array([low, np.nextafter(low, 2)])
    threshold = best_threshold(scores, np.array([False, True]))
    assert (scores > threshold).tolist() == [False, True]


@pytest.mark.parametrize("chunk", [1, 4, 1000])
def test_all_pairs_meets_every_pair_once(chunk):
    rng = np.random.default_rng(0)
    people = rng.integers(0, 5, 23)
    rows = rng.normal(size=(23, 6))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    expected: dict[bool, list[float]] = {True: [], False: []}
    for a in range(23):
        for b in range(a):
            expected[bool(people[a] == people[b])].append(float(rows[a] @ rows[b]))
    genuine, impostor = all_pairs(torch.tensor(rows), people, chunk=chunk)
    assert genuine.dtype == impostor.dtype == np.float32
    assert np.sort(genuine) == pytest.approx(sorted(expected[True]), abs=1e-6)
    assert np.sort(impostor) == pytest.approx(sorted(expected[False]), abs=1e-6)


def test_all_pairs_holds_the_scores_of_drawn_pairs():
    people = np.repeat(np.arange(4), 3)
    rows = torch.nn.functional.normalize(torch.randn(12, 8, generator=torch.Generator()))
    pairs = draw_pairs(people, 1000, seed=0)  # all 12 genuine pairs
    genuine, _ = all_pairs(rows, people)
    drawn = similarities(rows, pairs)[pairs.genuine]
    assert np.sort(drawn) == pytest.approx(np.sort(genuine), abs=1e-6)


def test_all_pairs_refuses_what_it_cannot_pair():
    rows = np.eye(3, dtype=np.float32)
    with pytest.raises(ValueError, match="0 genuine and 3 impostor"):
        all_pairs(rows, [1, 2, 3])
    with pytest.raises(ValueError, match="2 labels for 3 embeddings"):
        all_pairs(rows, [1, 2])
    with pytest.raises(ValueError, match=r"embeddings holds NaN \(first at \[0, 1\]\)"):
        all_pairs(np.array([[0, np.nan]]), [1])
