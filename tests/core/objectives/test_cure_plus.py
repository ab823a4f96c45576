import math

import pytest
import torch
from circle import on_circle
from torch import nn

from cure_core.objectives import Batch, Setup, build
from cure_core.unlearning import CureConfig

TEMPERATURE = 0.5


# Forget: three at 0 degrees, two at 90, one alone at 200. Retain: 45 and 225.
FORGET_ANGLES = [-2, 1, 5, 89, 91, 200]
FORGET, RETAIN = on_circle(*FORGET_ANGLES), on_circle(44, 46, 224, 226)


def started(method="cure_plus", seed=0, **settings):
    config = CureConfig(clusters=(3, 2), temperature=TEMPERATURE, seed=seed)
    objective = build(method, **settings)(config)
    views = [torch.stack([x, x]) for x in (FORGET, RETAIN)]
    objective.start(Setup(nn.Identity(), FORGET, RETAIN, *views, torch.device("cpu")))
    return objective


def batch(index: list[int], student_forget: torch.Tensor) -> Batch:
    forget, retain = torch.tensor(index), torch.tensor([0, 3])
    return Batch(
        student_forget=student_forget,
        student_retain=on_circle(54, 216),
        teacher_forget=FORGET[forget],
        teacher_retain=RETAIN[retain],
        forget_index=forget,
        retain_index=retain,
        forget_view=torch.zeros(len(index), dtype=torch.int64),
        retain_view=torch.zeros(2, dtype=torch.int64),
    )


def soft_maximum(angle: float, others: list[float]) -> float:
    """T log mean exp(cos / T), by plain Python."""
    cosines = [math.cos(math.radians(angle - other)) for other in others]
    mean = sum(math.exp(c / TEMPERATURE) for c in cosines) / len(cosines)
    return TEMPERATURE * math.log(mean)


def test_a_sample_moves_away_from_the_other_members_of_its_cluster_only():
    terms = started().terms(batch([0, 3, 5], on_circle(10, 100, 190)))
    expected = [soft_maximum(10, [1, 5]), soft_maximum(100, [91]), 0]
    assert terms["dispersion"].tolist() == pytest.approx(expected)


def test_it_moves_away_from_the_latest_embeddings_of_the_others():
    """Sample 1 was last seen at 30 degrees, so sample 0 is compared with that."""
    objective = started()
    objective.terms(batch([1, 4], on_circle(30, 120)))
    terms = objective.terms(batch([0, 3], on_circle(10, 100)))
    expected = [soft_maximum(10, [30, 5]), soft_maximum(100, [120])]
    assert terms["dispersion"].tolist() == pytest.approx(expected)


def test_the_clusters_stay_the_teachers():
    objective = started()
    before = objective.forget_labels.clone()
    objective.begin_epoch(1, lambda: on_circle(*range(6)))
    assert objective.forget_labels.tolist() == before.tolist()


def test_the_first_step_moves_a_cluster_apart():
    """The gradient of the angle: the one between the others stays, the outer ones leave."""
    angles = torch.tensor([-3.0, 0, 3], dtype=torch.float64).deg2rad().requires_grad_()
    objective = started()
    objective.memory[:3] = on_circle(-3, 0, 3)
    student = torch.stack([angles.cos(), angles.sin()], 1)
    objective.terms(batch([0, 1, 2], student))["dispersion"].sum().backward()
    first, middle, last = (-angles.grad).tolist()
    assert first < 0 < last
    assert middle == pytest.approx(0, abs=1e-12)


def test_other_terms_are_cures():
    arguments = batch([0, 3, 5], on_circle(10, 100, 190))
    ours, config = started().terms(arguments), CureConfig(clusters=(3, 2), temperature=TEMPERATURE)
    theirs = build("cure")(config)
    views = [torch.stack([x, x]) for x in (FORGET, RETAIN)]
    theirs.start(Setup(nn.Identity(), FORGET, RETAIN, *views, torch.device("cpu")))
    shared = theirs.terms(arguments).keys() & ours.keys()
    assert shared == {"cosine", "contrastive_retain", "matching", "distribution"}
    for name in shared:
        assert torch.equal(ours[name], theirs.terms(arguments)[name]), name


def test_copies_of_one_image_are_one_cluster():
    objective = build("cure_plus")(CureConfig())
    forget = on_circle(30).repeat(5, 1)
    views = [torch.stack([x, x]) for x in (forget, RETAIN)]
    objective.start(Setup(nn.Identity(), forget, RETAIN, *views, torch.device("cpu")))
    assert objective.forget_labels.tolist() == [0] * 5


@pytest.mark.parametrize("count", [1, 2, 3])
def test_too_few_images_to_choose_a_number_of_clusters_are_one(count):
    objective = build("cure_plus")(CureConfig())
    forget = on_circle(*range(0, 60 * count, 60))
    views = [torch.stack([x, x]) for x in (forget, RETAIN)]
    objective.start(Setup(nn.Identity(), forget, RETAIN, *views, torch.device("cpu")))
    assert objective.forget_labels.tolist() == [0] * count
    assert objective.summary()["clusters_forget"] == 1


# cure_scatter


def test_an_image_is_pulled_to_the_centroid_of_its_target():
    """The cross-entropy over all five centroids, at `scatter_temperature`, in plain Python."""
    objective = started("cure_scatter", scatter_temperature=0.3)
    index, student = [0, 3, 5], on_circle(10, 100, 190)
    terms = objective.terms(batch(index, student))
    cosines = (student @ objective.centroids.T).tolist()
    expected = []
    for row, place in zip(cosines, objective.scatter_targets[index].tolist(), strict=True):
        total = sum(math.exp(c / 0.3) for c in row)
        expected.append(-math.log(math.exp(row[place] / 0.3) / total))
    assert terms["scatter"].tolist() == pytest.approx(expected)
    centroids = objective.centroids[objective.forget_labels]
    assert torch.allclose((centroids * FORGET).sum(1), centroids.norm(dim=1), atol=0.01)
    assert len(objective.centroids) == 5  # of both sides


def test_a_target_is_any_other_cluster():
    drawn = torch.stack([started("cure_scatter", seed).scatter_targets for seed in range(60)])
    assert torch.equal(drawn[4], started("cure_scatter", 4).scatter_targets)
    for seed, targets in enumerate(drawn):
        assert not (targets == started("cure_scatter", seed).forget_labels).any()
    assert all(len(column.unique()) == 5 for column in drawn.T)
    assert not all(len(set(targets[:3].tolist())) == 1 for targets in drawn)  # of one cluster


def test_the_other_terms_are_those_of_cure_plus():
    arguments = batch([0, 3, 5], on_circle(10, 100, 190))
    ours, theirs = (started(name).terms(arguments) for name in ("cure_scatter", "cure_plus"))
    assert set(ours) == {*theirs, "scatter"}
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name
