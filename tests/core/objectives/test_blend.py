"""Methods that train on the retain set alone: what they start from, and what they are shown."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cure_core import encoders
from cure_core.config import CureConfig
from cure_core.losses import margin_contrastive_loss
from cure_core.objectives import METHODS, Batch, build
from cure_core.objectives.redistil import shrink
from cure_core.training.batches import draw_batches, epoch_steps
from cure_core.unlearning import unlearn

RETRAINED = ("redistil", "blend")


@pytest.fixture
def sets(draw_faces):
    images, _ = draw_faces(4, 4)
    return images[:8], images[8:]


@pytest.mark.parametrize("name", RETRAINED)
def test_no_forget_image_changes_the_student(name, sets, tiny_encoder):
    """Two forget sets of one size give one student: nothing of either enters the training."""
    config = CureConfig(clusters=2, retain_epochs=2, batch_size=(2, 2))
    forget, retain = sets
    students = [
        unlearn(tiny_encoder(), images, retain, config, objective=name).student
        for images in (forget, 255 - forget)
    ]
    first, second = (student.state_dict() for student in students)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_shrinking_mixes_with_a_fresh_initialisation_drawn_from_torchs_generator():
    network = encoders.build("small", seed=3)
    before = copy.deepcopy(network)
    torch.manual_seed(5)
    shrink(network, 0.25)
    torch.manual_seed(5)
    fresh = copy.deepcopy(before)
    for layer in fresh.modules():
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d | nn.PReLU):
            layer.reset_parameters()
    pairs = zip(before.parameters(), fresh.parameters(), network.parameters(), strict=True)
    for old, new, mixed in pairs:
        torch.testing.assert_close(mixed, 0.25 * old + 0.75 * new)
    batch_norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all((m.running_mean == 0).all() and (m.running_var == 1).all() for m in batch_norms)


def test_the_fresh_initialisation_is_not_the_one_that_the_seed_gives_a_teacher(sets):
    """A study seeds teacher and student alike; the student would start where the teacher did."""
    teacher = encoders.build("small", seed=0)
    config = CureConfig(retain_epochs=1, learning_rate=1e-9)
    student = unlearn(teacher, *sets, config, objective=build("redistil", keep=0.0)).student
    same = [
        torch.allclose(old, new, atol=1e-6)
        for (name, old), new in zip(teacher.named_parameters(), student.parameters(), strict=True)
        if name.endswith("conv.weight")
    ]
    assert not any(same)


def test_a_frozen_parameter_is_not_shrunk():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[0].weight.requires_grad_(False)
    before = network[0].weight.clone()
    shrink(network, 0.0)
    assert torch.equal(network[0].weight, before)


def test_an_epoch_shows_every_retain_image_once_and_no_forget_image(sets):
    forget, retain = sets
    config = CureConfig(batch_size=(2, 1))
    views = torch.zeros(2, 8, 4), torch.zeros(2, 8, 4)
    generator = torch.Generator().manual_seed(0)
    batches = list(
        draw_batches((forget, retain), views, config, generator, torch.device("cpu"), 0, False)
    )
    shown = torch.cat([known["retain_index"] for _, known in batches])
    assert sorted(shown.tolist()) == list(range(8))
    assert [len(images) for images, _ in batches] == [3, 3, 2]
    assert len(batches) == epoch_steps((8, 8), config, False)
    assert all(len(known["forget_index"]) == 0 for _, known in batches)


def test_a_single_image_at_the_end_joins_the_batch_before(sets):
    """Batch norm cannot train on one image."""
    forget, retain = sets
    config, views = CureConfig(batch_size=(3, 4)), (torch.zeros(2, 8, 4),) * 2
    generator = torch.Generator().manual_seed(0)
    batches = draw_batches(
        (forget, retain), views, config, generator, torch.device("cpu"), 0, False
    )
    assert [len(images) for images, _ in batches] == [8]
    assert epoch_steps((8, 8), config, False) == 1


def test_blends_terms_are_the_naive_ones():
    generator = torch.Generator().manual_seed(1)
    student, teacher = (
        F.normalize(torch.randn(5, 3, generator=generator, dtype=torch.float64)) for _ in range(2)
    )
    objective = build("blend", scale=8.0, margin=0.3)(CureConfig())
    objective.centroids = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    objective.labels = torch.tensor([0, 1, 1, 0, 1, 0])
    nothing, index = torch.empty(0, 3), torch.tensor([5, 1, 0, 2, 4])
    none = torch.empty(0, dtype=torch.int64)
    batch = Batch(nothing, student, nothing, teacher, none, index, none, torch.zeros_like(index))
    terms = objective.terms(batch)
    assert terms.keys() == objective.weights.keys()
    for i, image in enumerate(index.tolist()):
        assert terms["matching"][i] == pytest.approx(1 - float(student[i] @ teacher[i]))
        label = int(objective.labels[image])
        angles = [
            math.acos(float(student[i] @ c / c.norm())) + 0.3 * (k == label)
            for k, c in enumerate(objective.centroids)
        ]
        exponentials = [math.exp(8 * math.cos(angle)) for angle in angles]
        expected = -math.log(exponentials[label] / sum(exponentials))
        assert terms["clusters"][i] == pytest.approx(expected)


def test_without_a_margin_it_is_infonce_over_normalised_centroids():
    from cure_core.losses import centroid_contrastive_loss

    generator = torch.Generator().manual_seed(2)
    x, centroids = (F.normalize(torch.randn(4, 6, generator=generator)) for _ in range(2))
    targets = torch.tensor([0, 3, 1, 1])
    ours = margin_contrastive_loss(x, 2 * centroids, targets, 10.0, 0.0)
    torch.testing.assert_close(ours, centroid_contrastive_loss(x, centroids, targets, 0.1))


@pytest.mark.parametrize("name", RETRAINED)
def test_frozen_batch_norm_is_refused(name):
    with pytest.raises(ValueError, match="batchnorm='frozen' keeps statistics"):
        build(name)(CureConfig(batchnorm="frozen"))


def test_auto_is_each_methods_own_learning_rate():
    for name, rate in {"cure": 5e-4, "blend": 4e-3}.items():
        assert build(name)(CureConfig()).config.learning_rate == rate
        assert build(name)(CureConfig(learning_rate=0.01)).config.learning_rate == 0.01


@pytest.mark.parametrize(("name", "epochs"), [("cure", 7), ("blend", 3)])
def test_a_method_has_the_epochs_of_the_set_that_it_passes_over(name, epochs, sets, tiny_encoder):
    config = CureConfig(clusters=2, epochs=7, retain_epochs=3, batch_size=(4, 4))
    result = unlearn(tiny_encoder(), *sets, config, objective=name)
    assert len(result.history) == epochs


@pytest.mark.parametrize("value", [-1.0, "fast"])
def test_a_learning_rate_that_is_neither_auto_nor_a_number_is_refused(value):
    with pytest.raises(ValueError, match=f"learning_rate={value!r}.*or 'auto'"):
        CureConfig(learning_rate=value)


def test_more_clusters_than_retain_images_are_refused(sets, tiny_encoder):
    with pytest.raises(ValueError, match="clusters=9 for the retain set of 8 images"):
        unlearn(tiny_encoder(), *sets, CureConfig(clusters=(2, 9)), objective="blend")


def test_a_learning_rate_rises_and_falls_once(sets, tiny_encoder):
    rates = []

    class Watched(METHODS["redistil"]):
        def schedule(self, optimiser, steps):
            made = super().schedule(optimiser, steps)
            self.optimiser_ = optimiser
            return made

        def state_dict(self):
            return {}

        def terms(self, batch):
            rates.append(self.optimiser_.param_groups[0]["lr"])
            return super().terms(batch)

    unlearn(
        tiny_encoder(), *sets, CureConfig(retain_epochs=10, batch_size=(2, 2)), objective=Watched
    )
    assert len(rates) == 20
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(4e-3, rel=0.02)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < 1e-5
