"""Batch norm's statistics at the end of unlearning: of the retain images, by the final weights."""

import pytest
import torch
from torch import nn

from cure_core.objectives import build
from cure_core.training.batchnorm_recalibration import recalibrate_batchnorm
from cure_core.unlearning import CureConfig, unlearn

CONFIG = CureConfig(clusters=(3, 4), epochs=2, batch_size=(5, 8), learning_rate=1e-3)


@pytest.fixture
def sets(draw_faces):
    """Twelve images to forget, sixteen to retain."""
    images, _ = draw_faces(7, 4)
    return images[:12], images[12:]


def norms(encoder: nn.Module) -> dict[str, nn.BatchNorm2d]:
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
    return {name: layer for name, layer in encoder.named_modules() if isinstance(layer, kinds)}


def statistics(encoder: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in encoder.state_dict().items() if "running" in k}


def test_they_are_the_moments_of_what_reaches_each_layer(tiny_encoder, sets):
    """Taken by hooks in a pass of the retain images through a copy in train mode."""
    student, witness = tiny_encoder(), tiny_encoder()
    recalibrate_batchnorm(student, sets[1], torch.Generator())
    seen = {}
    for name, layer in norms(witness).items():
        layer.register_forward_pre_hook(
            lambda _, inputs, name=name: seen.__setitem__(name, inputs[0])
        )
    with torch.no_grad():
        witness.train()(torch.from_numpy(sets[1].copy()).permute(0, 3, 1, 2))
    assert seen.keys() == norms(student).keys() != set()
    for name, layer in norms(student).items():
        per_channel = seen[name].transpose(0, 1).flatten(1)
        torch.testing.assert_close(layer.running_mean, per_channel.mean(1), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(layer.running_var, per_channel.var(1), rtol=1e-4, atol=1e-5)
        assert layer.momentum == norms(witness)[name].momentum


def test_unlearning_ends_with_them(tiny_encoder, sets):
    student = unlearn(tiny_encoder(), *sets, CONFIG, progress=False).student
    before = statistics(student)
    recalibrate_batchnorm(student, sets[1], torch.Generator())
    torch.testing.assert_close(statistics(student), before, rtol=1e-4, atol=1e-5)


def test_only_statistics_change(tiny_encoder, sets):
    student, untouched = tiny_encoder(), tiny_encoder()
    recalibrate_batchnorm(student, sets[1], torch.Generator())
    for (name, after), before in zip(
        student.named_parameters(), untouched.parameters(), strict=True
    ):
        assert torch.equal(after, before), name
    assert not student.training


def test_one_image_to_retain_has_no_variance_and_is_taken_all_the_same(tiny_encoder, sets):
    student = unlearn(
        tiny_encoder(),
        sets[0],
        sets[1][:1],
        CureConfig(epochs=1),
        objective=build("dispersion"),
        progress=False,
    ).student
    assert all(value.isfinite().all() for value in statistics(student).values())
