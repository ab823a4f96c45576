"""Networks of one's own: preprocessing, sizes, outputs, and weights however they were saved."""

import copy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cure_core import CureConfig, unlearn
from cure_core.encoders import Adapted, SmallEncoder, build, embed
from cure_core.encoders.images import image_size

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
SIZES = {"resnet": (112, 112), "inception": (160, 160)}


@pytest.fixture
def examples(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    yield
    sys.modules.pop("own_encoders", None)


def drawn(count, size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), np.uint8)


@pytest.mark.parametrize("name", SIZES)
def test_the_documented_examples_load_weights_embed_and_unlearn(examples, tmp_path, name):
    pytest.importorskip("torchvision")
    encoder = build(f"own_encoders:{name}", seed=1)
    assert image_size(encoder) == SIZES[name]
    torch.save({"state_dict": encoder.network.state_dict()}, tmp_path / "weights.pt")
    loaded = build(f"own_encoders:{name}", tmp_path / "weights.pt", seed=2)
    images = drawn(16, SIZES[name])
    before = embed(loaded, images)
    assert torch.equal(before, embed(encoder, images))
    config = CureConfig(epochs=1, batch_size=(4, 4), clusters=2)
    student = unlearn(loaded, images[:4], images[4:], config).student
    assert not torch.equal(embed(student, images), before)


def test_mean_and_std_may_be_one_a_channel():
    images = torch.tensor([10, 20, 30], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    seen = Adapted(nn.Identity(), mean=[1, 2, 3], std=[1, 2, 3], size=(2, 2))(images)
    assert seen[0, :, 0, 0].tolist() == [9, 9, 9]  # (10 - 1) / 1, (20 - 2) / 2, (30 - 3) / 3


class Returns(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.wrap = wrap
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.wrap(self.scale * x.mean((2, 3)))


@pytest.mark.parametrize(
    ("wrap", "output"),
    [
        (lambda e: e, None),
        (lambda e: e[..., None, None], None),
        (lambda e: (None, e), 1),
        (lambda e: {"features": e, "logits": None}, "features"),
        (lambda e: {"a": {"b": e}}, lambda returned: returned["a"]["b"]),
    ],
)
def test_output_picks_the_embedding(wrap, output):
    images = torch.full((2, 3, 112, 112), 100, dtype=torch.uint8)
    embedding = Adapted(Returns(wrap), mean=0, std=1, output=output)(images)
    assert embedding.shape == (2, 3)
    assert embedding.dtype == torch.float32
    assert embedding.flatten().tolist() == pytest.approx([100] * 6)


def test_images_of_another_size_are_resized_by_an_adapter_and_refused_by_others():
    """A constant image stays what it is at any size."""
    adapted = Adapted(Returns(lambda e: e), mean=0, std=1, size=(64, 48))
    assert embed(adapted, np.full((2, 200, 100, 3), 7, np.uint8)).shape == (2, 3)
    with pytest.raises(ValueError, match=r"160 x 160 pixels, but SmallEncoder takes 112 x 112"):
        embed(SmallEncoder(), drawn(2, (160, 160)))


def test_sets_of_two_sizes_are_refused():
    adapted = Adapted(Returns(lambda e: e), size=(64, 64))
    with pytest.raises(ValueError, match=r"forget set holds images of \(64, 64\), the retain set"):
        unlearn(adapted, drawn(4, (64, 64)), drawn(8, (32, 32)), CureConfig(clusters=2))


def lightning(state):
    return {"state_dict": {f"model.backbone.{k}": v for k, v in state.items()}, "epoch": 3}


WRAPPED = {
    "plain": lambda state: state,
    "DataParallel": lambda state: {f"module.{k}": v for k, v in state.items()},
    "torch.compile": lambda state: {f"_orig_mod.{k}": v for k, v in state.items()},
    "both": lambda state: {f"_orig_mod.module.{k}": v for k, v in state.items()},
    "Lightning": lightning,
    "nested": lambda state: {"checkpoint": {"encoder": state}, "optimiser": {"lr": 0.1}},
    "with a head": lambda state: {**lightning(state), "head": {"weight": torch.zeros(9, 4)}},
    "an adapter's": lambda state: {f"network.{k}": v for k, v in state.items()},
}


@pytest.mark.parametrize("saved", WRAPPED)
@pytest.mark.parametrize("adapted", [False, True])
def test_weights_are_recognised_however_they_were_saved(tmp_path, monkeypatch, saved, adapted):
    donor = build("small", seed=5)
    torch.save(WRAPPED[saved](donor.state_dict()), tmp_path / "weights.pt")
    name = "small"
    if adapted:
        (tmp_path / "adapted_small.py").write_text(
            "from cure_core.encoders import Adapted, SmallEncoder\n"
            "def make():\n    return Adapted(SmallEncoder(), mean=0, std=1)\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        name = "adapted_small:make"
    loaded = build(name, tmp_path / "weights.pt")
    network = loaded.network if adapted else loaded
    for key, tensor in donor.state_dict().items():
        assert torch.equal(network.state_dict()[key], tensor), key


def test_weights_that_do_not_fit_are_named_with_both_shapes(tmp_path):
    state = build("small").state_dict()
    state = {k: torch.zeros(7) if v.dim() == 4 else v for k, v in state.items()}
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"is \(7,\), expected \(96, 1, 7, 7\)|and \d+ more") as e:
        build("small", tmp_path / "weights.pt")
    assert "expected (" in str(e.value)
    assert "more" in str(e.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x08\x07\x12\x07pytorch\x1a\x052.0.0:", "ONNX graph, which cannot be trained; give the"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 60, "HDF5 file .Keras.*convert the network"),
        (b"weights, as text", "neither safetensors nor a file of torch.save"),
    ],
)
def test_other_formats_are_refused_with_the_remedy(tmp_path, content, message):
    (tmp_path / "weights").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        build("small", tmp_path / "weights")


def test_a_real_onnx_file_is_recognised(tmp_path):
    pytest.importorskip("onnxscript")
    torch.onnx.export(
        nn.Linear(2, 2), (torch.zeros(1, 2),), tmp_path / "net.onnx", verbose=False,
    )  # fmt: skip
    with pytest.raises(ValueError, match="ONNX graph"):
        build("small", tmp_path / "net.onnx")


def test_an_adapter_copies_with_its_settings():
    adapted = Adapted(Returns(lambda e: e), mean=[1, 2, 3], size=(64, 48), bgr=True)
    again = copy.deepcopy(adapted)
    assert image_size(again) == (64, 48)
    images = torch.randint(0, 256, (2, 3, 64, 48), dtype=torch.uint8)
    assert torch.equal(adapted(images), again(images))
