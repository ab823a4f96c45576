import math

import pytest
import torch
from circle import on_circle
from pytorch_metric_learning.losses import NormalizedSoftmaxLoss
from torch import Tensor

from cure_core.losses import (
    centroid_contrastive_loss,
    cosine_forgetting_loss,
    dispersion_loss,
    feature_distribution_loss,
    feature_matching_loss,
)


def unit(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return torch.nn.functional.normalize(raw).to(dtype)


STUDENT, TEACHER = (10.0, 200.0, 45.0, 300.0), (70.0, 20.0, 45.0, 210.0)


def test_forgetting_and_matching_are_the_cosine_of_the_angle_between():
    expected = [math.cos(math.radians(s - t)) for s, t in zip(STUDENT, TEACHER, strict=True)]
    student, teacher = on_circle(*STUDENT), on_circle(*TEACHER)
    assert cosine_forgetting_loss(student, teacher).tolist() == pytest.approx(expected)
    assert feature_matching_loss(student, teacher).tolist() == pytest.approx(
        [1 - cosine for cosine in expected]
    )


def test_contrastive_is_cross_entropy_over_angles():
    angles, centroid_angles, targets = (10.0, 200.0, 80.0), (0.0, 90.0, 180.0, 270.0), [1, 3, 1]
    expected = []
    for angle, target in zip(angles, targets, strict=True):
        similarity = [math.cos(math.radians(angle - c)) / 0.5 for c in centroid_angles]
        expected.append(math.log(sum(map(math.exp, similarity))) - similarity[target])
    loss = centroid_contrastive_loss(
        on_circle(*angles), on_circle(*centroid_angles), torch.tensor(targets), temperature=0.5
    )
    assert loss.tolist() == pytest.approx(expected)


def test_contrastive_agrees_with_pytorch_metric_learning():
    """Its NormalizedSoftmaxLoss, with the class weights fixed to the centroids, is this loss."""
    embeddings, centroids = unit(6, 8), unit(5, 8, seed=1)
    targets = torch.tensor([0, 4, 2, 2, 1, 3])
    theirs = NormalizedSoftmaxLoss(num_classes=5, embedding_size=8, temperature=0.07).double()
    theirs.W.data = centroids.T.clone()
    ours = centroid_contrastive_loss(embeddings, centroids, targets, temperature=0.07)
    assert ours.mean().item() == pytest.approx(theirs(embeddings, targets).item())


def test_dispersion_by_hand_on_angles():
    """At temperature 1 the log of the mean of exp(cos 90) = 1 and exp(cos 180) = 1 / e; 0 alone."""
    mask = torch.tensor([[False, True, True], [False, False, False]])
    loss = dispersion_loss(on_circle(0, 45), on_circle(0, 90, 180), mask, temperature=1.0)
    assert loss.tolist() == pytest.approx([math.log((1 + math.exp(-1)) / 2), 0])


def test_dispersion_without_others_has_a_gradient_of_zero():
    x = unit(3, 4).requires_grad_()
    mask = torch.tensor([[True, True], [False, False], [False, True]])
    dispersion_loss(x, unit(2, 4, seed=1), mask).sum().backward()
    assert x.grad.isfinite().all()
    assert (x.grad[1] == 0).all()
    assert (x.grad[0] != 0).any()


def test_dispersion_is_the_nearest_cosine_when_cold_and_the_mean_when_hot():
    x, others = unit(4, 8), unit(5, 8, seed=1)
    cosine, mask = x @ others.T, torch.ones(4, 5, dtype=torch.bool)
    cold, hot = (dispersion_loss(x, others, mask, t) for t in (1e-3, 1e4))
    torch.testing.assert_close(cold, cosine.amax(1), atol=2e-3, rtol=0)
    torch.testing.assert_close(hot, cosine.mean(1), atol=1e-4, rtol=0)


def test_distribution_by_hand_on_angles():
    student, teacher = on_circle(0, 180), on_circle(90, 90)
    # Student: mean (0, 0), covariance diag(1, 0). Teacher: mean (0, 1), no spread. D = 2.
    assert feature_distribution_loss(student, teacher).item() == pytest.approx(1 + 2 * 1)


def test_distribution_by_naive_loops():
    student, teacher = on_circle(*STUDENT).tolist(), on_circle(*TEACHER).tolist()

    def mean(rows, axis):
        return sum(row[axis] for row in rows) / len(rows)

    def covariance(rows, a, b):
        return sum((r[a] - mean(rows, a)) * (r[b] - mean(rows, b)) for r in rows) / len(rows)

    expected = sum((mean(student, a) - mean(teacher, a)) ** 2 for a in range(2))
    for a in range(2):
        for b in range(2):
            expected += 2 * (covariance(student, a, b) - covariance(teacher, a, b)) ** 2
    loss = feature_distribution_loss(on_circle(*STUDENT), on_circle(*TEACHER))
    assert loss.item() == pytest.approx(expected)


def test_distribution_ignores_order_and_is_zero_only_for_equal_moments():
    x = unit(16, 4)
    assert feature_distribution_loss(x, x.flip(0)).item() == pytest.approx(0, abs=1e-20)
    assert feature_distribution_loss(x, unit(16, 4, seed=1)).item() > 1e-3


@pytest.mark.parametrize("dimension", [8, 64])
def test_distribution_costs_the_same_in_every_dimension(dimension):
    """Spread evenly along the axes: covariance I / D. Shrunk to (1 - e) of it the cost is e^2."""
    axes = torch.eye(dimension, dtype=torch.float64)
    even = torch.cat([axes, -axes])
    assert feature_distribution_loss(even * math.sqrt(0.9), even).item() == pytest.approx(0.01)


LOSSES = {
    "forgetting": lambda s: cosine_forgetting_loss(s, unit(5, 6, seed=1).to(s)),
    "contrastive": lambda s: centroid_contrastive_loss(
        s, unit(4, 6, seed=2).to(s), torch.tensor([0, 1, 2, 3, 0])
    ),
    "matching": lambda s: feature_matching_loss(s, unit(5, 6, seed=1).to(s)),
    "dispersion": lambda s: dispersion_loss(
        s, unit(4, 6, seed=2).to(s), torch.arange(20).reshape(5, 4) % 3 > 0
    ),
    "distribution": lambda s: feature_distribution_loss(s, unit(5, 6, seed=1).to(s)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name):
    assert torch.autograd.gradcheck(LOSSES[name], unit(5, 6).requires_grad_())


@pytest.mark.parametrize("name", LOSSES)
def test_bfloat16_goes_in_and_float32_comes_out(name):
    """What is left is the rounding of the inputs: 2^-9 of a cosine, divided by the temperature."""
    student = unit(5, 6)
    low = LOSSES[name](student.bfloat16())
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.double(), LOSSES[name](student), atol=0.04, rtol=0)


def test_autocast_does_not_round_the_losses():
    embeddings, centroids = unit(5, 64, dtype=torch.float32), unit(9, 64, dtype=torch.float32)
    targets = torch.arange(5)
    plain = centroid_contrastive_loss(embeddings, centroids, targets)
    moments = feature_distribution_loss(embeddings, centroids)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(centroid_contrastive_loss(embeddings, centroids, targets), plain)
        assert torch.equal(feature_distribution_loss(embeddings, centroids), moments)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("angle", [0, 180])
def test_finite_gradients_at_identical_and_opposite_vectors(angle, dtype):
    student = on_circle(angle, angle, dtype=dtype).requires_grad_()
    teacher, targets = on_circle(0, 0, dtype=dtype), torch.tensor([0, 1])
    loss = (
        cosine_forgetting_loss(student, teacher).sum()
        + feature_matching_loss(student, teacher).sum()
        + feature_distribution_loss(student, teacher)
        + centroid_contrastive_loss(student, teacher, targets, temperature=1e-4).sum()
    )
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()


def test_forgetting_has_no_gradient_where_the_student_starts():
    student = unit(5, 6).requires_grad_()
    cosine_forgetting_loss(student, student.detach()).sum().backward()
    assert student.grad.abs().max() < 1e-12


def test_empty_batches_are_zero_with_a_gradient():
    student = torch.zeros(0, 3, requires_grad=True)
    teacher, centroids = torch.zeros(0, 3), unit(2, 3, dtype=torch.float32)
    per_sample = [
        cosine_forgetting_loss(student, teacher),
        feature_matching_loss(student, teacher),
        centroid_contrastive_loss(student, centroids, torch.zeros(0, dtype=torch.int64)),
    ]
    assert [loss.shape for loss in per_sample] == [(0,)] * 3
    scalar = feature_distribution_loss(student, teacher)
    assert scalar.item() == 0
    (sum(loss.sum() for loss in per_sample) + scalar).backward()
    assert student.grad.shape == (0, 3)


def test_distribution_of_a_single_sample_compares_the_means():
    loss = feature_distribution_loss(on_circle(0), on_circle(90))
    assert loss.item() == pytest.approx(2)
