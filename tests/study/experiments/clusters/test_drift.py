from itertools import pairwise

import numpy as np
import pytest
import torch

from cure_core.objectives import Cure
from cure_core.unlearning import CureConfig, unlearn
from cure_study.experiments.clusters.drift import DRIFT, watch_drift


def test_it_repeats_the_clusters_that_the_method_renews(draw_faces, tiny_encoder):
    """The distance between the method's own centroids before and after a renewal is the step."""
    forget, _ = draw_faces(4, 8)
    retain, _ = draw_faces(4, 8, seed=1)
    teacher = tiny_encoder(0)
    renewed = []

    class Watched(Cure):
        def begin_epoch(self, epoch, student_forget):
            super().begin_epoch(epoch, student_forget)
            renewed.append((self.forget_centroids.clone(), self.forget_targets.clone()))

    config = CureConfig(clusters=(4, 4), epochs=4, batch_size=(16, 16), learning_rate=5e-3)
    watch = watch_drift(teacher, forget, 4, config.seed)
    history = unlearn(teacher, forget, retain, config, watch, objective=Watched).history
    for epoch, ((one, aim), (two, new)) in enumerate(pairwise(renewed)):
        row = history.iloc[epoch]
        assert row.step == pytest.approx(float((two - one).norm(dim=1).mean()), abs=1e-5)
        assert row.moved_target == pytest.approx(float((new != aim).float().mean()))
    assert history.step.max() > 0.01


def test_a_student_that_stays_drifts_nowhere(draw_faces, tiny_encoder):
    forget, _ = draw_faces(3, 6)
    watch = watch_drift(tiny_encoder(0), forget, 3)
    for _ in range(2):
        seen = watch(tiny_encoder(0))
        assert list(seen) == list(DRIFT)
        spread = seen.pop("spread")
        assert spread > 0
        np.testing.assert_allclose(list(seen.values()), 0, atol=1e-5)


def test_changes_add_up(draw_faces, tiny_encoder):
    """The mean number of changes so far is the sum of the shares that changed."""
    forget, _ = draw_faces(5, 6)
    watch = watch_drift(tiny_encoder(0), forget, 5)
    shares = []
    for seed in (1, 2, 3):
        seen = watch(tiny_encoder(seed))
        shares.append(seen["moved_target"])
        assert seen["changes"] == pytest.approx(sum(shares))
    assert torch.tensor(shares).sum() > 0
