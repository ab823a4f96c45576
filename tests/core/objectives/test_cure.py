import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from circle import on_circle
from torch import nn

from cure_core.objectives import Batch, Cure, Objective, Setup
from cure_core.unlearning import CureConfig, UnlearningStep

TERMS = ("cosine", "contrastive_forget", "contrastive_retain", "matching", "distribution")


# Forget: groups at 0, 90 and 200 degrees, in each two samples 2 apart. Retain: 45 and 225.
FORGET = on_circle(-1, 1, 89, 91, 199, 201)
RETAIN = on_circle(44, 46, 224, 226)


def setup(forget: torch.Tensor, retain: torch.Tensor) -> Setup:
    """What Cure reads of it: the teacher's embeddings."""
    views = [torch.stack([x, x]) for x in (forget, retain)]
    return Setup(nn.Identity(), forget, retain, *views, torch.device("cpu"))


def started(**config) -> Cure:
    objective = Cure(CureConfig(clusters=(3, 2), **config))
    objective.start(setup(FORGET, RETAIN))
    return objective


def nearest(points: torch.Tensor, degrees: float) -> int:
    return int((points @ on_circle(degrees)[0]).argmax())


def test_forget_targets_are_the_farthest_cluster_and_retain_targets_the_nearest():
    """From 0 degrees the farthest is 200, from 90 and from 200 also: 200, 200 (110 < 160), 0."""
    objective = started()
    zero, right, back = (nearest(objective.forget_centroids, a) for a in (0, 90, 200))
    assert sorted((zero, right, back)) == [0, 1, 2]
    assert objective.forget_targets.tolist() == [back, back, back, back, zero, zero]
    first, second = (nearest(objective.retain_centroids, a) for a in (45, 225))
    assert objective.retain_targets.tolist() == [first, first, second, second]


def test_terms_on_the_circle_by_hand():
    """Two of each side, turned 10 degrees; centroids are 1 degree chords: cos(1 degree) long."""
    objective = started(temperature=0.5)
    forget, retain = torch.tensor([2, 5]), torch.tensor([0, 3])
    batch = Batch(
        student_forget=on_circle(99, 211),
        student_retain=on_circle(54, 216),
        teacher_forget=FORGET[forget],
        teacher_retain=RETAIN[retain],
        forget_index=forget,
        retain_index=retain,
        forget_view=torch.zeros(2, dtype=torch.int64),
        retain_view=torch.zeros(2, dtype=torch.int64),
    )
    terms = objective.terms(batch)
    cos = [math.cos(math.radians(a)) for a in range(361)]

    def contrastive(angle: int, centroids: tuple[int, ...], target: int) -> float:
        similarity = {c: cos[1] * cos[abs(angle - c)] / 0.5 for c in centroids}
        return math.log(sum(map(math.exp, similarity.values()))) - similarity[target]

    expected = {
        "cosine": [cos[10], cos[10]],
        "contrastive_forget": [
            contrastive(99, (0, 90, 200), 200),
            contrastive(211, (0, 90, 200), 0),
        ],
        "contrastive_retain": [contrastive(54, (45, 225), 45), contrastive(216, (45, 225), 225)],
        "matching": [1 - cos[10], 1 - cos[10]],
    }
    for name, values in expected.items():
        assert terms[name].tolist() == pytest.approx(values, abs=1e-6), name
    assert terms["distribution"].ndim == 0
    assert set(terms) == set(TERMS) == set(objective.weights)


def test_an_update_follows_the_student_on_the_forget_side_only():
    """The student has turned the group at 90 to 170: now 0 is the farthest from it."""
    objective = started()
    retain = objective.retain_centroids.clone(), objective.retain_targets.clone()
    objective.begin_epoch(1, lambda: on_circle(-1, 1, 169, 171, 199, 201))
    zero, turned, back = (nearest(objective.forget_centroids, a) for a in (0, 170, 200))
    assert sorted((zero, turned, back)) == [0, 1, 2]
    assert objective.forget_targets.tolist() == [turned, turned, zero, zero, zero, zero]
    assert torch.equal(objective.retain_centroids, retain[0])
    assert torch.equal(objective.retain_targets, retain[1])


@pytest.mark.parametrize(
    ("tau", "before_epochs"), [(0, []), (1, [1, 2, 3, 4]), (2, [2, 4]), (9, [])]
)
def test_tau_is_the_epochs_between_updates(tau, before_epochs):
    """Not before the first epoch, where the student is still the teacher."""
    objective, calls = started(tau=tau), []
    for epoch in range(5):
        objective.begin_epoch(epoch, lambda epoch=epoch: calls.append(epoch) or FORGET)
    assert calls == before_epochs


def test_state_is_all_that_terms_need():
    objective, other = started(), Cure(CureConfig(clusters=(3, 2)))
    objective.begin_epoch(1, lambda: FORGET.flip(0))
    other.load_state_dict(objective.state_dict())
    index = torch.arange(4)
    batch = Batch(FORGET[:4].flip(0), RETAIN.flip(0), FORGET[:4], RETAIN, *[index] * 4)
    ours, theirs = objective.terms(batch), other.terms(batch)
    assert all(torch.equal(ours[name], theirs[name]) for name in TERMS)


def test_the_base_class_needs_terms_and_has_no_state():
    objective = Objective(CureConfig())
    with pytest.raises(NotImplementedError):
        objective.terms(Batch(*[FORGET] * 4, *[torch.arange(6)] * 4))
    assert objective.state_dict() == {}


# The weighted loss, against a loop that a person can read.


class Linear(nn.Module):
    """Sixteen patch means a channel, times a matrix: small enough to differentiate by hand."""

    def __init__(self, dim: int = 6) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.matrix = nn.Parameter(torch.randn(dim, 48, generator=generator, dtype=torch.float64))

    def forward(self, images):
        return patches(images) @ self.matrix.T


def patches(images: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(images.double() / 255, 28).flatten(1) - 0.5


def naive_terms(matrix, teacher, faces, cure: Cure, temperature) -> dict[str, torch.Tensor]:
    """Each term's mean, one sample after the other, in float64."""

    def unit(weights, image):
        z = weights @ image
        return z / (z * z).sum().sqrt()

    def contrast(e, centroids, target):
        similarity = [(e * c).sum() / temperature for c in centroids.double()]
        return -(similarity[target] - sum(s.exp() for s in similarity).log())

    forget, retain = ([patches(x[None])[0] for x in side] for side in faces)
    student = [[unit(matrix, x) for x in side] for side in (forget, retain)]
    before = [[unit(teacher, x) for x in side] for side in (forget, retain)]
    # centroids and targets are taken from the objective; other tests check them
    rows = {
        "cosine": [(s * t).sum() for s, t in zip(student[0], before[0], strict=True)],
        "contrastive_forget": [
            contrast(e, cure.forget_centroids, cure.forget_targets[i])
            for i, e in enumerate(student[0])
        ],
        "contrastive_retain": [
            contrast(e, cure.retain_centroids, cure.retain_targets[i])
            for i, e in enumerate(student[1])
        ],
        "matching": [1 - (s * t).sum() for s, t in zip(student[1], before[1], strict=True)],
    }
    means = {name: sum(values) / len(values) for name, values in rows.items()}

    def moments(side):
        mean = sum(side) / len(side)
        return mean, sum(torch.outer(e - mean, e - mean) for e in side) / len(side)

    (m, c), (m0, c0) = moments(student[1]), moments(before[1])
    means["distribution"] = ((m - m0) ** 2).sum() + len(m) * ((c - c0) ** 2).sum()
    return means


WEIGHTS: list[Mapping[str, float]] = [
    {},
    {"distribution": 2.5, "matching": 0.0},
    {**dict.fromkeys(TERMS, 0.0), "contrastive_forget": 3.0},
]


@pytest.mark.parametrize("moved", [False, True], ids=["at-the-teacher", "moved"])
@pytest.mark.parametrize("weights", WEIGHTS, ids=["default", "distribution", "one"])
def test_a_steps_gradient_is_that_of_the_naive_sum(draw_faces, weights, moved):
    images = torch.from_numpy(draw_faces(5, 3)[0].copy()).movedim(3, 1)
    faces = images[:6], images[6:]
    config = CureConfig(clusters=(2, 3), weights=weights, temperature=0.2, clip=1e9)
    student = Linear()
    teacher = student.matrix.detach().clone()
    before = [F.normalize(patches(x) @ teacher.T).float() for x in faces]
    cure = Cure(config)
    cure.start(setup(*before))
    if moved:
        with torch.no_grad():
            student.matrix += 0.3 * student.matrix.roll(1, 0)
    at = student.matrix.detach().clone().requires_grad_()
    expected = naive_terms(at, teacher, faces, cure, temperature=0.2)
    total = {**Cure.weights, **weights}
    loss = sum(total[name] * expected[name] for name in TERMS)
    gradient = torch.autograd.grad(loss, at)[0]

    known = {"teacher_forget": before[0], "teacher_retain": before[1]}
    for side, size in (("forget", 6), ("retain", 9)):
        known |= {f"{side}_index": torch.arange(size), f"{side}_view": torch.zeros(size).long()}
    step = UnlearningStep(student, cure, total, config, torch.device("cpu"))
    step.optimiser = torch.optim.SGD(student.parameters(), lr=0.5)
    means = step.means(step(images, known).tolist(), 1)

    for name in TERMS:
        assert means[name] == pytest.approx(expected[name].item(), abs=1e-5), name
    assert means["loss"] == pytest.approx(loss.item(), abs=1e-4)
    assert means["gradient_norm"] == pytest.approx(gradient.norm().item(), rel=1e-3)
    scale = gradient.abs().max().item()  # embeddings are float32 in the loop
    np.testing.assert_allclose(student.matrix.grad, gradient, atol=1e-4 * scale, rtol=1e-3)
    np.testing.assert_allclose(
        student.matrix.detach(), at.detach() - 0.5 * gradient, atol=1e-3 * scale
    )


def test_a_long_gradient_is_cut_to_clip(draw_faces):
    images = torch.from_numpy(draw_faces(4, 3)[0].copy()).movedim(3, 1)
    config = CureConfig(clusters=2, clip=1e-3)
    student = Linear()
    start = student.matrix.detach().clone()
    before = F.normalize(student(images)).detach().float()
    cure = Cure(config)
    cure.start(setup(before[:6], before[6:]))
    names = ("forget_index", "retain_index", "forget_view", "retain_view")
    known = {
        "teacher_forget": before[:6],
        "teacher_retain": before[6:],
        **dict.fromkeys(names, torch.arange(6)),
    }
    step = UnlearningStep(student, cure, cure.weights, config, torch.device("cpu"))
    step.optimiser = torch.optim.SGD(student.parameters(), lr=1.0)
    means = step.means(step(images, known).tolist(), 1)
    assert means["gradient_norm"] > 1e-3  # the history shows the length before the cut
    assert (student.matrix.detach() - start).norm().item() == pytest.approx(1e-3, rel=1e-3)
