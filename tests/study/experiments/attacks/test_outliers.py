import numpy as np
import pandas as pd
import pytest

from cure_study.experiments.attacks.outliers import detection_auc, outlier_auc

PEOPLE = np.arange(20).repeat(10)


def images(seed, shift=0.0, spread=1.0):
    """Two features of twenty people's ten images: a part of the person, and one of the image."""
    rng = np.random.default_rng(seed)
    people = rng.normal(size=(20, 2)).repeat(10, axis=0)
    return pd.DataFrame(shift + spread * (people + rng.normal(size=(200, 2))), columns=["a", "b"])


@pytest.mark.parametrize("measure", [outlier_auc, detection_auc])
def test_people_embedded_like_strangers_are_not_detected(measure):
    """Over draws the mean AUC is 1/2, and most intervals hold it.

    Of 30 other draws, 29 held it (outlier_auc); of 600, 95 % (detection_auc,
    `benchmarks/interval_coverage.py`).
    """
    found = [
        measure(images(2 * k), images(2 * k + 1), PEOPLE, PEOPLE, n_bootstrap=40, seed=k)
        for k in range(10)
    ]
    assert np.mean([auc.value for auc in found]) == pytest.approx(0.5, abs=0.08)
    assert sum(auc.low < 0.5 < auc.high for auc in found) >= 7


@pytest.mark.parametrize("measure", [outlier_auc, detection_auc])
def test_outlying_people_are_detected(measure):
    auc = measure(images(0, shift=6), images(1), PEOPLE, PEOPLE, n_bootstrap=50)
    assert auc.value > 0.95
    assert auc.low > 0.8


def test_collapsed_people_are_no_outliers_but_detected_with_labels():
    """In the centre no one is an outlier; the standard deviation still reveals them."""
    squeezed = images(0, spread=0.1)
    assert outlier_auc(squeezed, images(1), PEOPLE, PEOPLE, n_bootstrap=0).value < 0.1
    assert detection_auc(squeezed, images(1), PEOPLE, PEOPLE, n_bootstrap=0).value > 0.95


def test_no_person_is_scored_by_a_model_fitted_on_them():
    """Each person has a separate feature: nothing generalises, so the AUC is chance."""
    features = pd.DataFrame(np.eye(40).repeat(2, axis=0))
    people = np.arange(20).repeat(2)
    auc = detection_auc(features[:40], features[40:], people, people, n_bootstrap=0)
    assert auc.value == 0.5


@pytest.mark.slow
def test_comparing_within_folds_alone_has_no_bias():
    """Of each sign half of 60 draws without a difference, by a sign test at three sigma.

    Scores pooled over folds, each by a fit that was trained on the other's people, fail here.
    """
    people = np.arange(12).repeat(3)

    def faces(rng):
        people = rng.normal(size=(12, 6)).repeat(3, axis=0)
        return pd.DataFrame(people + rng.normal(size=people.shape))

    rng = np.random.default_rng(0)
    found = [
        detection_auc(faces(rng), faces(rng), people, people, n_bootstrap=0, seed=k).value
        for k in range(60)
    ]
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert abs(np.mean(found) - 0.5) < 3 * error


def test_too_few_people_are_refused():
    one = np.zeros(200)
    with pytest.raises(ValueError, match="1 strangers"):
        outlier_auc(images(0), images(1), PEOPLE, one)
    with pytest.raises(ValueError, match="1 forgotten and 20 strangers"):
        detection_auc(images(0), images(1), one, PEOPLE)
    with pytest.raises(ValueError, match="forget is empty"):
        outlier_auc(images(0)[:0], images(1), [], PEOPLE)
