import numpy as np
import pytest

from cure_core.metrics.ues import (
    UES,
    ScoredPairs,
    h_mean,
    ues_intervals,
    unlearning_efficiency_score,
)
from cure_core.metrics.verification import ten_fold_accuracy

BEFORE = {"forget": 0.9, "retain": 0.95, "test": 0.9}


def test_by_hand():
    # F = 0.3 / 0.4; S = (1 - 0.045 / 0.45) * (1 - 0.08 / 0.4) = 0.9 * 0.8
    result = unlearning_efficiency_score(BEFORE, {"forget": 0.6, "retain": 0.905, "test": 0.82})
    assert result.forgetting == pytest.approx(0.75)
    assert result.stability == pytest.approx(0.72)
    assert result.score == pytest.approx(0.54)


def test_an_untouched_model_scores_nothing_and_is_stable():
    result = unlearning_efficiency_score(BEFORE, BEFORE)
    assert (result.score, result.forgetting, result.stability) == (0, 0, 1)


def test_a_collapsed_model_scores_nothing_though_it_forgets():
    result = unlearning_efficiency_score(BEFORE, dict.fromkeys(BEFORE, 0.5))
    assert (result.score, result.forgetting, result.stability) == (0, 1, 0)


def test_full_forgetting_at_no_cost_scores_one():
    assert unlearning_efficiency_score(BEFORE, {**BEFORE, "forget": 0.5}).score == 1


def test_getting_better_on_kept_sets_costs_as_much_as_getting_worse():
    up, down = (
        unlearning_efficiency_score(BEFORE, {"forget": 0.7, "retain": 0.95, "test": 0.9 + change})
        for change in (0.05, -0.05)
    )
    assert up.score == pytest.approx(down.score)


def test_factors_stay_between_zero_and_one():
    worse = unlearning_efficiency_score(BEFORE, {"forget": 0.3, "retain": 0.1, "test": 0.9})
    assert (worse.forgetting, worse.stability) == (1, 0)
    better = unlearning_efficiency_score(BEFORE, {**BEFORE, "forget": 1.0})
    assert better.forgetting == 0


def test_kept_sets_are_a_choice():
    after = {"forget": 0.5, "retain": 0.95, "test": 0.5}
    assert unlearning_efficiency_score(BEFORE, after, kept=["retain"]).score == 1


@pytest.mark.parametrize("value", [0.5, 0.3])
@pytest.mark.parametrize("name", ["forget", "retain", "test"])
def test_chance_before_is_refused_with_set_and_value(name, value):
    with pytest.raises(ValueError, match=rf"before\['{name}'\] is {value}"):
        unlearning_efficiency_score({**BEFORE, name: value}, BEFORE)


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.1])
def test_what_is_no_accuracy_is_refused(value):
    with pytest.raises(ValueError, match=rf"after\['test'\] is {value}"):
        unlearning_efficiency_score(BEFORE, {**BEFORE, "test": value})
    with pytest.raises(ValueError, match=rf"after\['forget'\] is {value}"):
        h_mean(BEFORE, {"forget": value, "retain": 0.9})


def test_a_missing_set_is_named():
    with pytest.raises(ValueError, match=r"after lacks 'test'; it holds \['forget', 'retain'\]"):
        unlearning_efficiency_score(BEFORE, {"forget": 0.5, "retain": 0.9})


def test_h_mean_by_hand():
    # D = 0.4, A_r = 0.8: 2 * 0.32 / 1.2
    assert h_mean({"forget": 0.9}, {"forget": 0.5, "retain": 0.8}) == pytest.approx(0.64 / 1.2)


@pytest.mark.parametrize("after", [0.9, 0.95])
def test_h_mean_without_forgetting_is_zero(after):
    assert h_mean({"forget": 0.9}, {"forget": after, "retain": 0.0}) == 0


def judged(shift, people, seed):
    """Ten genuine pairs a person and as many impostors; genuine ones lose `shift` of two after."""
    rng = np.random.default_rng(seed)
    left = np.repeat(people, 20)
    genuine = np.tile([True, False], len(left) // 2)
    right = np.where(genuine, left, np.roll(people, 1).repeat(20))
    before = rng.normal(2.0 * genuine)
    after = before - shift * genuine + rng.normal(0, 0.1, len(left))
    return ScoredPairs(before, after, genuine, rng.integers(10, size=len(left)), left, right)


def three_sets(forgotten=2.0):
    shifts = {"forget": forgotten, "retain": 0.1, "test": 0.0}
    return {
        name: judged(shift, np.arange(15) + 100 * k, k)
        for k, (name, shift) in enumerate(shifts.items())
    }


def test_within_a_run_ues_has_an_interval_over_people_in_its_range():
    sets = three_sets()
    found = ues_intervals(sets, n_bootstrap=60)
    accuracies = [
        {
            name: ten_fold_accuracy(getattr(pairs, when), pairs.genuine, pairs.folds)
            for name, pairs in sets.items()
        }
        for when in ("before", "after")
    ]
    expected = unlearning_efficiency_score(*accuracies)
    assert list(found) == ["score", "forgetting", "stability"]
    for name, interval in found.items():
        assert interval.value == getattr(expected, name)
        assert 0 <= interval.low <= interval.high <= 1
        assert interval.low < interval.high
    assert found == ues_intervals(sets, n_bootstrap=60)


def test_an_unchanged_model_has_a_ues_of_0_in_every_resample():
    sets = {name: pairs._replace(after=pairs.before) for name, pairs in three_sets().items()}
    found = ues_intervals(sets, n_bootstrap=20)
    assert found["score"] == (0, 0, 0)
    assert found["stability"] == (1, 1, 1)


def test_ues_without_resamples_or_people_has_no_bounds():
    found = ues_intervals(three_sets(), n_bootstrap=0)["score"]
    assert np.isnan([found.low, found.high]).all()
    with pytest.raises(ValueError, match="sets lacks 'test'"):
        ues_intervals({k: v for k, v in three_sets().items() if k != "test"})


def test_scores_compare_equal_with_nan():
    assert UES(0.5, float("nan"), 1.0) == UES(0.5, float("nan"), 1.0)
    assert UES(0.5, 0.5, 1.0) != UES(0.5, 0.6, 1.0)
