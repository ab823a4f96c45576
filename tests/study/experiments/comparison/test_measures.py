"""A task, its pairs, and what is measured of a student that diverged or collapsed."""

import numpy as np
import pytest
import torch

from cure_core.metrics.pairs import Pairs
from cure_study.data import manifests
from cure_study.data.faceset import FaceSet
from cure_study.evaluation.evaluate import accuracies
from cure_study.evaluation.protocol import fewer_pairs, verification_only
from cure_study.evaluation.space import Space
from cure_study.experiments.comparison.measures import (
    measure_all,
    measure_attacks,
    measure_or_collapse,
    measure_ues,
)
from cure_study.experiments.comparison.plan import Plan
from cure_study.experiments.comparison.task import Trainer

pytestmark = pytest.mark.xdist_group("comparison")  # they share one task


def test_verification_alone_gives_the_whole_protocols_accuracies(task):
    light = verification_only(task.protocol)
    assert accuracies(Space(light, task.teacher)) == accuracies(task.space)


def test_a_data_sets_own_pairs_are_cut_to_the_planned_number(change, tiny, monkeypatch):
    people = tiny.identities
    kept = np.flatnonzero((people < 10) | (np.arange(len(people)) % 7 < 4))  # four have four images
    images, people = tiny.images[kept], people[kept]
    strangers = np.flatnonzero(people >= 10)
    left, right = (side.ravel() for side in np.meshgrid(strangers, strangers))
    pairs = {"own": Pairs(left, right, people[left] == people[right])}
    faces = FaceSet(tiny.name, images, people, "abc", protocols=pairs)
    monkeypatch.setattr(manifests, "load", lambda *_, **__: faces)
    trainer = Trainer(Plan(**change("data/synthfaces/n_pairs", 20)), "synthfaces")
    for n_pairs, most in ((None, 20), (10, 10)):
        pairs = trainer.task("random_people", 0, n_pairs).protocol.pairs["test"]
        assert np.count_nonzero(pairs.genuine) == np.count_nonzero(~pairs.genuine) == most


def test_fewer_pairs_are_some_of_the_pairs_in_their_folds(task):
    whole = task.protocol
    few = fewer_pairs(whole, 5)
    for name, pairs in few.pairs.items():
        assert np.count_nonzero(pairs.genuine) == np.count_nonzero(~pairs.genuine) == 5
        kept = set(zip(pairs.left, pairs.right, few.folds[name], strict=True))
        every = whole.pairs[name]
        assert kept <= set(zip(every.left, every.right, whole.folds[name], strict=True))


def test_a_run_that_diverges_leaves_its_last_good_student(task, change):
    unlearning = {"clusters": [2, 3], "batch_size": [8, 8], "clip": 1e30}
    trainer = Trainer(Plan(**change("data/synthfaces/unlearning", unlearning)), "synthfaces")
    student, columns = trainer.student(task, "cure", {"learning_rate": 1e30})
    assert columns["diverged_after"] == 0
    assert "finite" in columns["diverged"]
    for a, b in zip(student.parameters(), task.teacher.parameters(), strict=True):
        assert a.equal(b)


@pytest.mark.parametrize("raw", [0.0, 1.0, np.nan])
def test_a_student_that_collapsed_is_a_row_that_says_so(task, raw):
    """One embedding for every face: all is forgotten (F = 1), nothing is kept (S = 0)."""

    class Collapsed(torch.nn.Module):
        weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, images):
            return torch.full_like(task.teacher(images), raw)

    ues, row, attacks = (
        measure_or_collapse(measure, task, Collapsed())
        for measure in (measure_ues, measure_all, measure_attacks)
    )
    assert attacks["diverged"].startswith("the student collapsed: ")
    assert ("diverged" in row) == (raw != 1)  # with equal embeddings everything can be measured
    assert ("diverged" in ues) == np.isnan(raw)
    for found in (ues, row):
        assert (found["ues"], found["forgetting"], found["stability"]) == (0, 1, 0)

    def wrong(*_):
        raise ValueError("no such measure")

    with pytest.raises(ValueError, match="no such measure"):
        measure_or_collapse(wrong, task, task.teacher)
