import numpy as np
import pytest

from cure_core.metrics.intervals import _resample, mean_interval, people_bootstrap
from cure_core.metrics.verification import ten_fold_accuracy, ten_folds
from cure_core.pairs import draw_pairs


def test_a_constant_statistic_has_no_spread():
    left, right = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0])
    assert people_bootstrap(lambda index: 0.7, left, right, n=20) == (0.7, 0.7, 0.7)


def test_pairs_are_repeated_as_often_as_their_people_were_drawn():
    left = np.array([0, 1, 2, 0, 1, 3])
    right = np.array([0, 1, 2, 1, 2, 0])
    for seed in range(20):
        drawn = np.random.default_rng(seed).integers(4, size=4).tolist()
        expected = [
            index
            for index, (a, b) in enumerate(zip(left, right, strict=True))
            for _ in range(drawn.count(a) if a == b else drawn.count(a) * drawn.count(b))
        ]
        kinds = {bool(left[index] == right[index]) for index in expected}
        if kinds == {True, False}:  # otherwise people are drawn again
            got = _resample(left, right, 4, np.random.default_rng(seed))
            assert got.tolist() == expected


def test_replicates_always_hold_both_kinds():
    left, right = np.array([0, 1, 2, 0]), np.array([0, 1, 2, 1])
    rng = np.random.default_rng(0)
    for _ in range(100):
        index = _resample(left, right, 3, rng)
        assert set((left[index] == right[index]).tolist()) == {True, False}


def test_the_interval_of_a_mean_over_people_matches_theory():
    # One genuine pair each for 200 people: resampling people is the plain bootstrap of a mean,
    # whose 95 % interval is close to mean +- 1.96 standard errors.
    values = np.random.default_rng(0).normal(size=200)
    people = np.arange(200)
    interval = people_bootstrap(lambda index: values[index].mean(), people, people, n=4000)
    error = values.std() / np.sqrt(200)
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_many_pairs_of_the_same_people_do_not_narrow_the_interval():
    values = np.random.default_rng(0).normal(size=30)

    def width(pairs_each: int) -> float:
        people = np.repeat(np.arange(30), pairs_each)
        interval = people_bootstrap(lambda index: values[people[index]].mean(), people, people)
        return interval.high - interval.low

    assert width(50) == pytest.approx(width(1))


def test_an_interval_of_accuracy_holds_its_value_and_repeats():
    people = np.repeat(np.arange(20), 6)
    pairs = draw_pairs(people, 100, seed=0)
    scores = np.random.default_rng(0).normal(size=len(pairs)) + 2 * pairs.genuine
    folds = ten_folds(len(pairs))

    def accuracy(index: np.ndarray) -> float:
        return ten_fold_accuracy(scores[index], pairs.genuine[index], folds[index])

    first, again, other = (
        people_bootstrap(accuracy, people[pairs.left], people[pairs.right], n=60, seed=seed)
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other
    assert first.low < first.value < first.high
    assert first.value == ten_fold_accuracy(scores, pairs.genuine)


def test_two_people_give_no_bounds():
    interval = people_bootstrap(lambda index: 0.5, ["a", "b", "a"], ["a", "b", "b"])
    assert interval.value == 0.5
    assert np.isnan([interval.low, interval.high]).all()


def test_unusable_requests_are_refused():
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(1,\)"):
        people_bootstrap(lambda index: 0.0, [1, 2], [1])
    with pytest.raises(ValueError, match=r"shapes \(0,\)"):
        people_bootstrap(lambda index: 0.0, [], [])
    with pytest.raises(ValueError, match="level 95"):
        people_bootstrap(lambda index: 0.0, [1], [1], level=95)
    with pytest.raises(ValueError, match="level is 95"):
        mean_interval([1.0, 2.0], level=95)
    with pytest.raises(ValueError, match="values holds NaN"):
        mean_interval([1.0, np.nan])
    with pytest.raises(ValueError, match="values is empty"):
        mean_interval([])


def test_mean_interval_from_the_table_of_students_t():
    # n = 5, standard deviation sqrt(2.5); t(0.975, 4) = 2.776 in any table.
    mean, low, high = mean_interval([1, 2, 3, 4, 5])
    reach = 2.776 * np.sqrt(2.5 / 5)
    assert mean == 3
    assert low == pytest.approx(3 - reach, abs=1e-3)
    assert high == pytest.approx(3 + reach, abs=1e-3)


def test_one_seed_has_no_bounds():
    mean, low, high = mean_interval([0.4])
    assert mean == 0.4
    assert np.isnan([low, high]).all()
