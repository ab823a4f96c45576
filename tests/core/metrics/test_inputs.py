"""Every metric raises ValueError for unusable input, and says what is wrong and where."""

import numpy as np
import pandas as pd
import pytest

from cure_core.metrics.discard import error_versus_discard, utility
from cure_core.metrics.gallery import rank_one
from cure_core.metrics.intervals import (
    auc_interval,
    difference_interval,
    mean_interval,
    seed_interval,
    share_interval,
)
from cure_core.metrics.membership import auc_over_people, membership_attack
from cure_core.metrics.oracle_gap import tug_of_war
from cure_core.metrics.pairs import Pairs
from cure_core.metrics.ues import h_mean, unlearning_efficiency_score
from cure_core.metrics.verification import (
    all_pairs,
    best_threshold,
    equal_error_rate,
    roc,
    tar_at_far,
    ten_fold_accuracy,
)
from cure_study.evaluation.features import nearest_centroid_features, view_features
from cure_study.evaluation.procrustes import rotation
from cure_study.experiments.attacks.collateral import collateral
from cure_study.experiments.attacks.outliers import detection_auc, outlier_auc
from cure_study.experiments.attacks.recovery import few_shot_rank_one, linear_map
from cure_study.experiments.attacks.shadow_models import likelihood_ratio

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(24, 3))
SCORES = RNG.normal(size=24)
PEOPLE = np.arange(6).repeat(4)
OTHERS = PEOPLE + 6
LABELS = np.arange(24) % 2 == 0
PAIRS = Pairs(np.arange(24), np.roll(np.arange(24), 1), LABELS)
INSIDE = np.array([[True] * 24, [True] * 24, [False] * 24, [False] * 24])
# name: a call of the array that is corrupted, and that array
MEASURES = {
    "tar_at_far, genuine": (lambda x: tar_at_far(x, SCORES, 0.1), SCORES),
    "tar_at_far, impostor": (lambda x: tar_at_far(SCORES, x, 0.1), SCORES),
    "roc, genuine": (lambda x: roc(x, SCORES), SCORES),
    "roc, impostor": (lambda x: roc(SCORES, x), SCORES),
    "equal_error_rate": (lambda x: equal_error_rate(x, SCORES), SCORES),
    "ten_fold_accuracy": (lambda x: ten_fold_accuracy(x, LABELS[: len(x)]), SCORES),
    "best_threshold": (lambda x: best_threshold(x, LABELS[: len(x)]), SCORES),
    "all_pairs": (lambda x: all_pairs(x, PEOPLE[: len(x)]), ROWS),
    "rank_one, probe": (lambda x: rank_one(x, PEOPLE[: len(x)], ROWS, PEOPLE), ROWS),
    "rank_one, gallery": (lambda x: rank_one(ROWS, PEOPLE, x, PEOPLE[: len(x)]), ROWS),
    "error_versus_discard": (
        lambda x: error_versus_discard(x, PAIRS, SCORES, threshold=0.0), SCORES,
    ),
    "error_versus_discard, quality": (
        lambda x: error_versus_discard(SCORES, PAIRS, x, threshold=0.0), SCORES,
    ),
    "utility": (lambda x: utility(x, PEOPLE[: len(x)]), ROWS),
    "collateral, before": (lambda x: collateral(x, ROWS, PEOPLE, ROWS, OTHERS), ROWS),
    "collateral, after": (lambda x: collateral(ROWS, x, PEOPLE, ROWS, OTHERS), ROWS),
    "collateral, forgotten": (
        lambda x: collateral(ROWS, ROWS, PEOPLE, x, OTHERS[: len(x)]), ROWS,
    ),
    "nearest_centroid_features": (lambda x: nearest_centroid_features(x, 2), ROWS),
    "view_features": (lambda x: view_features([x], PEOPLE[: len(x)]), ROWS),
    "auc_over_people": (
        lambda x: auc_over_people(x, SCORES, PEOPLE[: len(x)], OTHERS, n_bootstrap=0), SCORES,
    ),
    **{
        f"membership_attack, {name}": (
            lambda x, name=name: membership_attack(
                **{**dict.fromkeys(("members", "non_members", "forget"), ROWS), name: x},
                member_people=PEOPLE[: len(x)] if name == "members" else PEOPLE,
                non_member_people=OTHERS[: len(x)] if name == "non_members" else OTHERS,
            ),
            ROWS,
        )
        for name in ("members", "non_members", "forget")
    },
    **{
        f"{measure.__name__}, {side}": (
            lambda x, measure=measure, side=side: measure(
                *(pd.DataFrame(x if side == name else ROWS) for name in ("forget", "strangers")),
                PEOPLE[: len(x)] if side == "forget" else PEOPLE,
                OTHERS[: len(x)] if side == "strangers" else OTHERS,
                n_bootstrap=0,
            ),
            ROWS,
        )
        for measure in (outlier_auc, detection_auc)
        for side in ("forget", "strangers")
    },
    "rotation": (lambda x: rotation(x, ROWS), ROWS),
    "linear_map": (lambda x: linear_map(x, ROWS), ROWS),
    "linear_map, rows": (lambda x: linear_map(ROWS, ROWS)(x), ROWS),
    "few_shot_rank_one": (
        lambda x: few_shot_rank_one(x, PEOPLE[: len(x)], ROWS, OTHERS, 1), ROWS,
    ),
    "few_shot_rank_one, others": (
        lambda x: few_shot_rank_one(ROWS, PEOPLE, x, OTHERS[: len(x)], 1), ROWS,
    ),
    "likelihood_ratio": (lambda x: likelihood_ratio(x, [ROWS] * 4, INSIDE), ROWS),
    "likelihood_ratio, shadows": (lambda x: likelihood_ratio(ROWS, [x] * 4, INSIDE), ROWS),
    "mean_interval": (mean_interval, SCORES),
    "share_interval": (share_interval, np.full(3, 0.5)),
    "difference_interval": (lambda x: difference_interval(x, "ues"), np.full(3, 0.5)),
    "seed_interval": (lambda x: seed_interval(x, "auc"), np.full(3, 0.5)),
}  # fmt: skip
each_measure = pytest.mark.parametrize("name", MEASURES)


def corrupted(array, value):
    array = array.copy()
    array.flat[1] = value
    return array


@each_measure
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(name, value):
    measure, good = MEASURES[name]
    measure(good)
    with pytest.raises(ValueError, match="NaN" if np.isnan(value) else "infinity"):
        measure(corrupted(good, value))


@each_measure
def test_what_is_empty_is_refused(name):
    measure, good = MEASURES[name]
    with pytest.raises(ValueError, match="empty"):
        measure(good[:0])


@each_measure
def test_text_is_refused(name):
    measure, good = MEASURES[name]
    with pytest.raises(ValueError, match="real numbers"):
        measure(good.astype(str))


@pytest.mark.parametrize("measure", [best_threshold, ten_fold_accuracy])
@pytest.mark.parametrize("label", [True, False])
def test_one_class_is_refused(measure, label):
    with pytest.raises(ValueError, match="both classes"):
        measure(SCORES, np.full(24, label))


def test_one_kind_of_pair_or_person_is_refused():
    with pytest.raises(ValueError, match="both kinds"):
        all_pairs(ROWS, np.zeros(24))
    with pytest.raises(ValueError, match="no genuine pair"):
        error_versus_discard(
            SCORES, Pairs(PAIRS.left, PAIRS.right, np.zeros(24, bool)), SCORES, threshold=0.0
        )
    with pytest.raises(ValueError, match="two of each"):
        detection_auc(pd.DataFrame(ROWS), pd.DataFrame(ROWS), np.zeros(24), PEOPLE)
    with pytest.raises(ValueError, match="people"):
        membership_attack(ROWS, ROWS, ROWS, member_people=np.zeros(24), non_member_people=PEOPLE)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 1.1])
def test_what_is_no_accuracy_is_refused(value):
    good = {"forget": 0.9, "retain": 0.9, "test": 0.9}
    for measure in (unlearning_efficiency_score, h_mean, tug_of_war):
        for case in ((good, {**good, "forget": value}), ({**good, "forget": value}, good)):
            with pytest.raises(ValueError, match="forget"):
                measure(*case)
    with pytest.raises(ValueError, match="AUC"):
        auc_interval(value, 5, 5)
