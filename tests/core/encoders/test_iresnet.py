"""IResNet: InsightFace's names, its sizes, and its published weights' file forms."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cure_core import encoders
from cure_core.encoders import Adapted, build
from cure_core.encoders.iresnet import IResNet, Unit

TINY = (1, 1, 1, 1)


def unit(inputs, outputs, first):
    """By hand: BN 2 in, conv 9 in out, BN 2 out, PReLU out, conv 9 out out, BN 2 out, skip."""
    body = 2 * inputs + 9 * inputs * outputs + 2 * outputs + outputs + 9 * outputs**2 + 2 * outputs
    return body + (inputs * outputs + 2 * outputs if first else 0)


@pytest.mark.parametrize(
    ("name", "units", "millions"),
    [
        ("iresnet18", (2, 2, 2, 2), 24.03),  # millions, as the field quotes them
        ("iresnet50", (3, 4, 14, 3), 43.59),
        ("iresnet100", (3, 13, 30, 3), 65.16),
    ],
)
def test_parameters_are_as_many_as_the_field_says(name, units, millions):
    expected, inputs = 3 * 64 * 9 + 2 * 64 + 64, 64
    for count, width in zip(units, (64, 128, 256, 512), strict=True):
        expected += unit(inputs, width, True) + (count - 1) * unit(width, width, False)
        inputs = width
    expected += 2 * 512 + (512 * 49 + 1) * 512 + 2 * 512
    encoder = encoders.REGISTRY[name]()
    total = sum(p.numel() for p in encoder.parameters())
    assert total == expected
    assert total / 1e6 == pytest.approx(millions, abs=0.01)


def test_parameters_bear_the_names_of_arcface_torch():
    """Written out from a published backbone's listing, for one unit a stage."""
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = ["conv1.weight", *(f"bn1.{n}" for n in norm), "prelu.weight"]
    for stage in range(1, 5):
        own = [*(f"bn1.{n}" for n in norm), "conv1.weight", *(f"bn2.{n}" for n in norm)]
        own += ["prelu.weight", "conv2.weight", *(f"bn3.{n}" for n in norm)]
        own += ["downsample.0.weight", *(f"downsample.1.{n}" for n in norm)]
        expected += [f"layer{stage}.0.{name}" for name in own]
    expected += [*(f"bn2.{n}" for n in norm), "fc.weight", "fc.bias"]
    expected += [f"features.{n}" for n in norm]
    assert list(IResNet(TINY).state_dict()) == expected
    deep = encoders.REGISTRY["iresnet100"]().state_dict()
    assert deep["layer3.29.conv2.weight"].shape == (256, 256, 3, 3)
    assert "layer3.1.downsample.0.weight" not in deep
    assert deep["fc.weight"].shape == (512, 25088)


def test_images_in_embeddings_out():
    torch.manual_seed(0)
    encoder = IResNet(TINY).eval()
    images = torch.randint(0, 256, (2, 3, 112, 112), dtype=torch.uint8)
    seen = []
    encoder.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoder.fc.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    raw = encoder(images)
    assert raw.shape == (2, 512) == (2, encoder.dim)
    assert raw.dtype == torch.float32
    expected = images.numpy() / 255.0 * 2 - 1
    np.testing.assert_allclose(seen[0].numpy(), expected, atol=1e-6)
    assert seen[1].shape == (2, 512 * 7 * 7)


def test_a_unit_is_its_formula():
    torch.manual_seed(0)
    unit = Unit(64, 64, 2).eval()
    for norm in (m for m in unit.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.uniform_(norm.weight)
        nn.init.uniform_(norm.bias)

    def normed(norm, x):
        scale = norm.weight / (norm.running_var + 1e-5).sqrt()
        return (x - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[
            :, None, None
        ]

    x = torch.randn(1, 64, 6, 6)
    inner = torch.conv2d(normed(unit.bn1, x), unit.conv1.weight, padding=1)
    inner = normed(unit.bn2, inner)
    inner = torch.where(inner > 0, inner, inner * unit.prelu.weight[:, None, None])
    inner = normed(unit.bn3, torch.conv2d(inner, unit.conv2.weight, stride=2, padding=1))
    skip = torch.conv2d(x[:, :, ::2, ::2], unit.downsample[0].weight)
    expected = inner + normed(unit.downsample[1], skip)
    torch.testing.assert_close(unit(x), expected, atol=1e-4, rtol=1e-4)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(encoders.REGISTRY, "tiny", lambda: IResNet(TINY))


FORMS = {
    "plain": lambda state: state,
    "parallel": lambda state: {f"module.{k}": v for k, v in state.items()},
    "half": lambda state: {k: v.half() if v.is_floating_point() else v for k, v in state.items()},
    "checkpoint": lambda state: {"epoch": 3, "global_step": 9, "state_dict_backbone": state},
    "nested": lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_published_backbone_loads_in_the_forms_it_comes_in(tiny, tmp_path, form, zipped):
    """Files from before torch 1.6 are no zip archives."""
    donor, path = build("tiny", seed=5), tmp_path / "backbone.pth"
    torch.save(FORMS[form](donor.state_dict()), path, _use_new_zipfile_serialization=zipped)
    loaded = build("tiny", path)
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    assert not loaded.features.weight.requires_grad
    for name, tensor in donor.state_dict().items():
        expected = tensor.half().to(tensor.dtype) if form == "half" else tensor
        assert torch.equal(loaded.state_dict()[name], expected), name


def test_weights_of_another_depth_are_refused(tmp_path):
    path = tmp_path / "backbone.safetensors"
    save_file({"conv1.weight": torch.zeros(64, 3, 3, 3)}, path)
    with pytest.raises(ValueError, match=r"does not fit IResNet: missing \['bn1\.bias'"):
        build("iresnet18", path)


OWN = """
import torch
from torch import nn
from cure_core.encoders import Adapted

def net():
    return Adapted(nn.Sequential(nn.Flatten(), nn.LazyLinear(4)), mean=0, std=255, size=(8, 8))

def flat():
    return nn.Flatten(0)

def text():
    return "no network"
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_nets.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)


def test_an_encoder_of_ones_own_takes_one_line(own):
    encoder = build("own_nets:net", seed=3)
    assert encoder(torch.zeros(2, 3, 112, 112, dtype=torch.uint8)).shape == (2, 4)
    again = build("own_nets:net", seed=3)
    assert torch.equal(encoder.network[1].weight, again.network[1].weight)
    assert not encoder.training


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_nets:none", "cannot make the encoder own_nets:none: .*no attribute"),
        ("no_such_module:net", "cannot make the encoder .*No module named"),
        ("own_nets:text", "gives a str; expected an nn.Module"),
        ("own_nets:flat", r"turns one image into \(37632,\); expected float32 \(1, D\)"),
    ],
)
def test_what_is_no_encoder_is_told(own, name, message):
    with pytest.raises(ValueError, match=message):
        build(name)


def test_preprocessing_is_as_asked_for():
    images = torch.randint(0, 256, (1, 3, 112, 112), dtype=torch.uint8)
    seen = Adapted(nn.Identity(), mean=100, std=50, bgr=True)(images)
    expected = (images.numpy()[:, ::-1].astype(np.float64) - 100) / 50
    np.testing.assert_allclose(seen.numpy(), expected, atol=1e-6)
    halved = Adapted(nn.Identity(), mean=0, std=1, size=(56, 56))(torch.full_like(images, 7))
    assert halved.shape == (1, 3, 56, 56)
    assert halved.numpy() == pytest.approx(7)
