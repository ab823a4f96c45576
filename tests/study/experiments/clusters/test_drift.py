from itertools import pairwise

import numpy as np
import pytest
import torch

from cure_core.objectives import Cure
from cure_core.unlearning import CureConfig, unlearn
from cure_study.experiments.clusters.drift import DRIFT, watch_drift


def test_it_repeats_the_clusters_that_the_method_recomputes(draw_faces, tiny_encoder):
    """The step is the distance between the method's centroids before and after recomputing."""
    forget, _ = draw_faces(4, 8)
    retain, _ = draw_faces(4, 8, seed=1)
    teacher = tiny_encoder(0)
    clusterings = []

    class Watched(Cure):
        def begin_epoch(self, epoch, student_forget):
            super().begin_epoch(epoch, student_forget)
            clusterings.append((self.forget_centroids.clone(), self.forget_targets.clone()))

    config = CureConfig(clusters=(4, 4), epochs=4, batch_size=(16, 16), learning_rate=5e-3)
    watch = watch_drift(teacher, forget, 4, config.seed)
    history = unlearn(teacher, forget, retain, config, watch, objective=Watched).history
    for epoch, ((old, old_targets), (new, new_targets)) in enumerate(pairwise(clusterings)):
        row = history.iloc[epoch]
        assert row.step == pytest.approx(float((new - old).norm(dim=1).mean()), abs=1e-5)
        assert row.moved_target == pytest.approx(float((new_targets != old_targets).float().mean()))
    assert history.step.max() > 0.01


def test_a_student_that_does_not_change_does_not_drift(draw_faces, tiny_encoder):
    forget, _ = draw_faces(3, 6)
    watch = watch_drift(tiny_encoder(0), forget, 3)
    for _ in range(2):
        values = watch(tiny_encoder(0))
        assert list(values) == list(DRIFT)
        assert values.pop("spread") > 0
        np.testing.assert_allclose(list(values.values()), 0, atol=1e-5)


def test_changes_add_up(draw_faces, tiny_encoder):
    """The mean number of changes so far is the sum of the shares that changed."""
    forget, _ = draw_faces(5, 6)
    watch = watch_drift(tiny_encoder(0), forget, 5)
    shares = []
    for seed in (1, 2, 3):
        values = watch(tiny_encoder(seed))
        shares.append(values["moved_target"])
        assert values["changes"] == pytest.approx(sum(shares))
    assert torch.tensor(shares).sum() > 0
