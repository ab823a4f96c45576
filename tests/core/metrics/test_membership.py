import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cure_core.metrics.membership import (
    MembershipResult,
    auc_over_people,
    detectable,
    membership_attack,
    rank_auc,
)
from cure_study.evaluation.features import view_features

PEOPLE = np.repeat(np.arange(40), 10)


def features(shift: float, seed: int, n: int = 400) -> np.ndarray:
    """Three features, the first of which is shifted."""
    return np.random.default_rng(seed).normal(loc=[shift, 0, 0], size=(n, 3))


def attack(members, non_members, forget, seed=0) -> MembershipResult:
    return membership_attack(
        members,
        non_members,
        forget,
        member_people=PEOPLE[: len(members)],
        non_member_people=PEOPLE[: len(non_members)],
        seed=seed,
    )


def test_a_planted_signal_is_found_as_well_as_it_can_be():
    # Unit Gaussians two apart: AUC = Phi(2 / sqrt 2) = 0.921, threshold half-way, so recall on
    # members is Phi(1) = 0.841, and TPR at 1 % FPR is Phi(2 - 2.326) = 0.372.
    result = attack(features(2, 0), features(0, 1), features(2, 2))
    assert result.meaningful
    assert result.auc == pytest.approx(0.921, abs=0.04)
    assert result.recall == pytest.approx(0.841, abs=0.08)
    assert result.tpr_at_1pct_fpr == pytest.approx(0.372, abs=0.2)


def test_forgotten_samples_that_look_like_non_members_are_not_recalled():
    result = attack(features(4, 0), features(0, 1), features(0, 2))
    assert result.auc > 0.97
    assert result.recall < 0.08  # 1 - Phi(2) = 0.023


def test_a_signal_of_either_sign_or_scale_is_found():
    scale = [1e-3, 1e3, 1]
    result = attack(features(-2, 0) * scale, features(0, 1) * scale, features(-2, 2) * scale)
    assert result.auc == pytest.approx(0.921, abs=0.04)


def test_without_a_signal_the_attack_is_at_chance():
    aucs = [
        attack(features(0, 3 * k), features(0, 3 * k + 1), features(0, 3 * k + 2)).auc
        for k in range(8)
    ]
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.03)


def test_one_feature_is_a_threshold_attack():
    """A regression on one feature ranks as the feature does: AUC and TPR are those of the feature.

    At 1 % FPR 2 of 200 held-out non-members may pass, at 0.1 % none.
    """
    members, others, forget = (features(2, k)[:, :1] for k in (0, 1, 2))
    others, forget = others - 2, forget - 2
    result = attack(-members, -others, -forget)
    halves = [
        -rows[~np.isin(PEOPLE, half)]
        for rows, half in zip((members, others), fitted_people(seed=0), strict=True)
    ]
    truth = np.repeat([False, True], [len(halves[1]), len(halves[0])])
    assert result.auc == pytest.approx(1 - roc_auc_score(truth, np.concatenate(halves[::-1])))
    worst = np.sort(halves[1][:, 0])
    assert result.tpr_at_1pct_fpr == pytest.approx(np.mean(halves[0] < worst[2]))
    assert result.tpr_at_01pct_fpr == pytest.approx(np.mean(halves[0] < worst[0]))


def fitted_people(seed):
    """The people of either class that the attack is fitted on, drawn as its docstring says."""
    rng = np.random.default_rng(seed)
    return [rng.permutation(np.unique(PEOPLE))[:20] for _ in range(2)]


def test_the_interval_of_auc_holds_one_half_where_nothing_leaks():
    for k in range(3):
        data = [features(0, 50 + 3 * k + part) for part in range(3)]
        result = membership_attack(
            *data, member_people=PEOPLE, non_member_people=PEOPLE, n_bootstrap=100
        )
        assert result.auc_low < 0.5 < result.auc_high
    leak = membership_attack(
        features(2, 0),
        *(features(0, k) for k in (1, 2)),
        member_people=PEOPLE,
        non_member_people=PEOPLE,
        n_bootstrap=100,
    )
    assert 0.8 < leak.auc_low < leak.auc < leak.auc_high


def test_auc_over_people_resamples_people():
    """Everyone's images agree, so that four a person say no more than one: equal bounds."""
    rng = np.random.default_rng(0)
    positive, negative, people = rng.normal(1, 1, 30), rng.normal(0, 1, 30), np.arange(30)
    one = auc_over_people(positive, negative, people, people)
    four = auc_over_people(*(np.repeat(x, 4) for x in (positive, negative, people, people)))
    truth = np.repeat([True, False], 30)
    assert one.value == roc_auc_score(truth, np.concatenate([positive, negative]))
    assert one == pytest.approx(four)
    assert one.low < one.value < one.high
    assert np.isnan(auc_over_people(positive, negative, people, people, n_bootstrap=0).low)


def test_people_are_never_in_both_halves():
    # Each person has a separate feature, so nothing generalises from one to another: only
    # an attack fitted on the test people would do better than chance.
    people = np.eye(80).repeat(10, axis=0)
    result = attack(people[:400], people[400:], people)
    assert result.auc == 0.5
    assert not result.meaningful


def test_the_larger_class_does_not_move_the_threshold():
    result = attack(features(2, 0), features(0, 1, n=60), features(2, 2))
    assert result.recall == pytest.approx(0.841, abs=0.12)


def test_a_weak_attack_says_that_its_recall_means_nothing():
    weak, strong = (MembershipResult(auc, 0.1, 0.4, 0.0) for auc in (0.5499, 0.55))
    assert not weak.meaningful
    assert "recall means nothing" in repr(weak)
    assert strong.meaningful
    assert repr(strong) == "recall 0.4000, AUC 0.550, TPR at 1 % FPR 0.100"
    known = {"auc": 0.5499, "tpr_at_1pct_fpr": 0.1, "recall": 0.4, "threshold": 0.0}
    names = ("tpr_at_01pct_fpr", "auc_low", "auc_high", "forget_auc")
    verdicts = {"meaningful": False, "detectable": False, "collapsed": False}
    assert weak.to_dict() == known | dict.fromkeys(names, np.nan) | verdicts


def test_forget_samples_beyond_strangers_are_detectable_not_a_success():
    """Six from everyone on the other side: recall 0, as low as it gets, and plain to see."""
    pushed = attack(features(2, 0), features(0, 1), features(-6, 2))
    assert pushed.recall == 0
    assert pushed.forget_auc < 0.01
    assert pushed.detectable
    assert "detectable" in repr(pushed)
    stranger = attack(features(2, 0), features(0, 1), features(0, 2))
    assert stranger.forget_auc == pytest.approx(0.5, abs=0.1)
    assert "detectable" not in repr(stranger)


def test_an_auc_far_below_a_half_is_a_signal():
    reversed_sign = MembershipResult(0.1, 0.0, 0.0, 0.0, forget_auc=0.5)
    assert reversed_sign.detectable
    assert "detectable" in repr(reversed_sign)


def test_a_collapsed_encoder_has_no_result():
    flat = np.zeros((400, 3))
    result = attack(flat, flat, flat)
    assert result.collapsed
    assert not result.meaningful
    assert "meaningless" in repr(result)


@pytest.mark.parametrize(("recall", "oracle"), [(0.01, 0.4), (0.19, 0.4), (0.3, 0.4), (0.5, 0.4)])
def test_a_recall_is_detectable_far_below_the_oracles(recall, oracle):
    assert detectable(recall, oracle) == (recall < 0.2)
    assert not detectable(recall, np.nan)


def test_results_that_are_equal_compare_equal_with_nan():
    """Python 3.13 compares dataclasses field by field, and no NaN is equal to itself."""
    one, two = (MembershipResult(0.7, 0.1, 0.5, 0.0, float("nan")) for _ in range(2))
    assert one == two
    assert len({one, two}) == 1
    assert one != MembershipResult(0.7, 0.1, 0.5, 0.0, 0.2)
    assert one != (0.7, 0.1, 0.5, 0.0)


@pytest.mark.parametrize("seed", range(3))
def test_rank_auc_is_scikit_learns_with_ties(seed):
    rng = np.random.default_rng(seed)
    positive, negative = rng.integers(0, 6, 40) / 5, rng.integers(0, 5, 70) / 5
    truth = np.arange(110) < 40
    expected = roc_auc_score(truth, np.concatenate([positive, negative]))
    assert rank_auc(positive, negative) == pytest.approx(expected)


def test_the_attack_repeats_for_a_seed():
    data = features(1, 0), features(0, 1), features(1, 2)
    assert attack(*data) == attack(*data)
    assert attack(*data) != attack(*data, seed=1)


def test_unusable_features_are_refused_by_name():
    good, bad = features(0, 0), features(0, 0)
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"non_members holds NaN \(first at \[3, 1\]\)"):
        attack(good, bad, good)
    with pytest.raises(ValueError, match="forget is empty"):
        attack(good, good, good[:0])
    with pytest.raises(ValueError, match="members has 10 rows and 10 labels of 1 people"):
        attack(good[:10], good, good)


def test_features_of_steadier_images_tell_members():
    # Members: tight around their person and steady when changed; non-members: neither.
    rng = np.random.default_rng(0)
    people = np.concatenate([PEOPLE, PEOPLE + 100])
    noise = np.where(people < 100, 0.05, 0.15)[:, None]
    faces = rng.normal(size=(140, 32))[people]
    faces /= np.linalg.norm(faces, axis=1, keepdims=True)
    plain = faces + noise * rng.normal(size=faces.shape)
    table = view_features([plain, plain + noise * rng.normal(size=faces.shape)], people)
    for column in ("view_1", "compactness"):
        assert roc_auc_score(people < 100, table[column]) > 0.9
    result = membership_attack(
        table[people < 100],
        table[people >= 100],
        table[people < 10],
        member_people=PEOPLE,
        non_member_people=PEOPLE,
    )
    assert result.auc > 0.9
    assert result.recall > 0.9
