import numpy as np
import pytest
from scipy import stats

from cure_core.metrics.intervals import (
    SHARE,
    SIGNED,
    UNBOUNDED,
    Interval,
    _resample,
    auc_interval,
    difference_interval,
    mean_interval,
    measure_range,
    people_bootstrap,
    seed_interval,
    seeds_text,
    share_interval,
)
from cure_core.metrics.pairs import draw_pairs
from cure_core.metrics.verification import ten_fold_accuracy, ten_folds


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


def test_two_people_or_no_resamples_give_no_bounds():
    for right, n in ((["a", "b", "b"], 10), (["a", "b", "c"], 0)):
        interval = people_bootstrap(lambda index: 0.5, ["a", "b", "a"], right, n=n)
        assert interval.value == 0.5
        assert np.isnan([interval.low, interval.high]).all()


def test_unusable_requests_are_refused():
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(1,\)"):
        people_bootstrap(lambda index: 0.0, [1, 2], [1])
    with pytest.raises(ValueError, match=r"shapes \(0,\)"):
        people_bootstrap(lambda index: 0.0, [], [])
    with pytest.raises(ValueError, match="n is -1"):
        people_bootstrap(lambda index: 0.0, [1], [1], n=-1)
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


SKEWED = ([0.0, 0.0, 0.04], [0.95, 0.99, 1.0], [0.0, 1.0], [0.738, 0.782, 0.962], [0.5, 0.6, 0.7])


@pytest.mark.parametrize("values", SKEWED, ids=str)
def test_a_score_interval_solves_its_own_inequality(values):
    """The bounds are where the squared distance is what the spread allows; inside it is less."""
    mean, low, high = share_interval(values)
    n, m = len(values), np.mean(values)
    scale = stats.t.ppf(0.975, n - 1) ** 2 / n * np.var(values, ddof=1) / (m * (1 - m))
    assert mean == m
    assert 0 <= low < m < high <= 1
    for bound in (low, high):
        assert (m - bound) ** 2 == pytest.approx(scale * bound * (1 - bound))


def test_far_from_the_bounds_a_score_interval_is_students():
    values = [0.49, 0.5, 0.52]
    for ours, students in zip(share_interval(values), mean_interval(values), strict=True):
        assert ours == pytest.approx(students, abs=2e-3)


def test_shares_and_their_complements_have_mirrored_intervals():
    values = np.array([0.02, 0.1, 0.03])
    _, low, high = share_interval(values)
    assert share_interval(1 - values)[1:] == pytest.approx((1 - high, 1 - low))


def test_it_covers_skewed_recalls_more_often_than_students():
    values = np.random.default_rng(0).beta(1, 13, (400, 3))
    held = [
        [low <= 1 / 14 <= high for _, low, high in map(kind, values)]
        for kind in (share_interval, mean_interval)
    ]
    assert np.mean(held[0]) > np.mean(held[1]) + 0.02


@pytest.mark.parametrize("values", [[0.4], [1.0, 1.0, 1.0], [0.0, 0.0]])
def test_without_a_spread_a_share_has_no_bounds(values):
    mean, low, high = share_interval(values)
    assert mean == values[0]
    assert np.isnan([low, high]).all()


SHARES = (
    *("ues", "forgetting", "stability", "accuracy_forget", "tar_cross", "eer", "h_mean", "tow"),
    *("membership_recall", "membership_tpr_at_1pct_fpr", "rank1_old_gallery", "told_apart_auc"),
    *("few_shot_fresh_rank1_1", "relearning_3_accuracy_before", "gap", "fresh"),
)


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        *((name, SHARE) for name in SHARES),
        ("collateral_spearman", SIGNED),
        ("change of accuracy", SIGNED),
        ("seconds", UNBOUNDED),
        ("loss", UNBOUNDED),
    ],
)  # fmt: skip
def test_the_range_of_a_measure_is_known_by_its_name(name, bounds):
    assert measure_range(name) == bounds


def test_no_interval_over_seeds_leaves_its_range():
    rng = np.random.default_rng(1)
    for n in (2, 3, 5):
        for _ in range(50):
            share = np.clip(rng.normal(rng.random(), 0.4, n), 0, 1)
            less = np.clip(rng.normal(rng.uniform(-1, 1), 0.4, n), -1, 1)
            for interval, least in (
                (seed_interval(share, "auc"), 0),
                (seed_interval(less, "collateral_spearman"), -1),
                (difference_interval(less, "ues"), -1),
            ):
                bounds = [b for b in interval if not np.isnan(b)]
                assert all(least <= bound <= 1 for bound in bounds)
    assert seed_interval([3.0, 5.0], "seconds") == mean_interval([3.0, 5.0])


def test_values_outside_a_measures_range_are_refused():
    with pytest.raises(ValueError, match=r"from 0.5 to 1.2; expected all in \[0, 1\]"):
        share_interval([0.5, 1.2])
    with pytest.raises(ValueError, match=r"expected all in \[-1, 1\]"):
        difference_interval([0.5, -1.2], "ues")
    with pytest.raises(ValueError, match="values holds infinity"):
        share_interval([0.5, np.inf])


def test_few_seeds_are_shown_one_by_one():
    assert seeds_text([0.25, 0.25], "ues") == "0.250; 0.250, 0.250"
    assert seeds_text([0.25], "ues") == "0.250"
    assert ";" not in seeds_text(np.linspace(0.2, 0.3, 6), "ues")


@pytest.mark.parametrize(
    ("auc", "m", "n"), [(0.5, 15, 15), (0.8, 12, 30), (1.0, 15, 15), (0.0, 8, 9)]
)
def test_the_interval_of_an_auc_by_trying_every_value(auc, m, n):
    """Hanley and McNeil's variance (1982), as they wrote it."""
    theta = np.linspace(0, 1, 200_001)
    q1, q2 = theta / (2 - theta), 2 * theta**2 / (1 + theta)
    others = (m + n) / 2 - 1
    variance = theta * (1 - theta) + others * (q1 - theta**2) + others * (q2 - theta**2)
    inside = theta[(auc - theta) ** 2 <= 1.959964**2 * variance / (m * n)]
    value, low, high = auc_interval(auc, m, n)
    assert value == auc
    assert (low, high) == pytest.approx((inside.min(), inside.max()), abs=1e-4)
    assert 0 <= low < high <= 1


def test_intervals_that_are_equal_compare_equal_with_nan():
    one, two = (Interval(0.5, float("nan"), float("nan")) for _ in range(2))
    assert one == two
    assert len({one, two}) == 1
    assert one != Interval(0.5, 0.4, float("nan"))
    assert Interval(0.5, 0.4, 0.6) == (0.5, 0.4, 0.6)


def test_intervals_are_unequal_exactly_where_they_are_not_equal():
    nan = float("nan")
    assert not Interval(0.5, nan, nan) != Interval(0.5, float("nan"), nan)  # noqa: SIM202
    assert Interval(0.5, nan, nan) != Interval(0.5, 0.4, 0.6)
