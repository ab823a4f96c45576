from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from cure_core.training.arcface import Recipe
from cure_study.data.faceset import FaceSet
from cure_study.experiments.attacks.shadow_models import (
    likelihood_ratio,
    random_halves,
    train_shadows,
)


def test_halves_are_random_and_fair():
    inside = random_halves(101, 6, seed=3)
    assert inside.shape == (6, 101)
    assert (inside.sum(axis=0) == 3).all()
    assert abs(inside.mean(axis=1) - 0.5).max() < 0.2
    assert np.array_equal(inside, random_halves(101, 6, seed=3))
    assert not np.array_equal(inside, random_halves(101, 6, seed=4))
    with pytest.raises(ValueError, match="count is 3"):
        random_halves(10, 3)


def test_likelihood_ratio_by_scipy():
    """Three images, four shadows, one score: normal densities with variances pooled by hand."""
    scores = np.array([[1.0, 5.0, 2.0], [3.0, 6.0, 0.0], [0.0, 4.0, 4.0], [-2.0, 2.0, 5.0]])
    inside = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 1]], dtype=bool)
    observed = np.array([1.5, 3.0, 4.0])
    # Each image has two scores a side, so its part of the pooled variance is half of (a - b)^2.
    spread_in = np.sqrt(((1 - 3) ** 2 + (5 - 6) ** 2 + (4 - 5) ** 2) / 2 / 3)
    spread_out = np.sqrt(((0 + 2) ** 2 + (4 - 2) ** 2 + (2 - 0) ** 2) / 2 / 3)
    expected = norm.logpdf(observed, [2, 5.5, 4.5], spread_in)
    expected -= norm.logpdf(observed, [-1, 3, 1], spread_out)
    ratio = likelihood_ratio(observed[:, None], scores[:, :, None], inside)
    assert ratio.tolist() == pytest.approx(expected.tolist())
    twice = likelihood_ratio(*(np.repeat(x[..., None], 2, -1) for x in (observed, scores)), inside)
    assert twice.tolist() == pytest.approx((2 * expected).tolist())


def simulated(leak, seed, n=600, count=8):
    """Scores that differ far more from image to image than training moves them (`leak`)."""
    rng = np.random.default_rng(seed)
    easy = rng.normal(0, 5, n)
    inside, member = random_halves(n, count, seed), rng.random(n) < 0.5
    shadows = easy + leak * inside + rng.normal(size=(count, n))
    observed = easy + leak * member + rng.normal(size=n)
    return observed, shadows, inside, member


def test_it_finds_what_a_threshold_misses():
    """Training adds 2 to scores of deviation 5: AUC 0.61 by threshold, 0.92 by the image's own.

    Phi(2 / (5.1 sqrt 2)) = 0.609; Phi(2 / sqrt 2) = 0.921 were the means known exactly.
    """
    observed, shadows, inside, member = simulated(2.0, seed=0)
    assert roc_auc_score(member, observed) == pytest.approx(0.609, abs=0.06)
    ratio = likelihood_ratio(observed[:, None], shadows[:, :, None], inside)
    assert 0.85 < roc_auc_score(member, ratio) < 0.95


def test_it_finds_nothing_where_training_moves_nothing():
    aucs = []
    for seed in range(6):
        observed, shadows, inside, member = simulated(0.0, seed)
        ratio = likelihood_ratio(observed[:, None], shadows[:, :, None], inside)
        aucs.append(roc_auc_score(member, ratio))
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.03)


def test_scores_that_nothing_moves_say_nothing():
    inside = random_halves(5, 4)
    assert likelihood_ratio(np.ones((5, 1)), np.ones((4, 5, 1)), inside).tolist() == [0] * 5


def test_unusable_scores_are_refused():
    inside = random_halves(5, 4)
    with pytest.raises(ValueError, match="do not fit"):
        likelihood_ratio(np.ones((4, 1)), np.ones((4, 5, 1)), inside)
    with pytest.raises(ValueError, match="5 images have no shadow outside"):
        likelihood_ratio(np.ones((5, 1)), np.ones((4, 5, 1)), inside | True)
    with pytest.raises(ValueError, match="train more shadows"):
        likelihood_ratio(np.ones((5, 1)), np.ones((2, 5, 1)), random_halves(5, 2))
    with pytest.raises(ValueError, match="observed holds NaN"):
        likelihood_ratio(np.full((5, 1), np.nan), np.ones((4, 5, 1)), inside)


def test_shadows_know_half_of_the_people(draw_faces, tiny_encoder):
    images, identities = draw_faces(people=12, each=3)
    faces, recipe = FaceSet("painted", images, identities, "0"), Recipe(epochs=1, batch_size=8)
    index = np.flatnonzero(identities > 1)
    shadows = train_shadows(tiny_encoder(), faces, index, recipe, count=2, seed=5)
    assert sorted(np.concatenate([s.people for s in shadows]).tolist()) == list(range(2, 12))
    weights = [next(s.encoder.parameters()).detach().numpy() for s in shadows]
    assert not np.array_equal(*weights)
    again = train_shadows(tiny_encoder(), faces, index, replace(recipe, seed=9), count=2, seed=5)
    assert np.array_equal(weights[0], next(again[0].encoder.parameters()).detach().numpy())
