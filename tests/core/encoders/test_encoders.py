import json
import os
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from cure_core.encoders import REGISTRY, MobileFaceNet, SmallEncoder, build
from cure_core.encoders.embedding import raw_embeddings
from cure_core.encoders.model_files import write_model

ROOT = os.environ.get("CURE_DATA_ROOT")
WEIGHTS = Path(ROOT or ".") / "models" / "mobilefacenet_casia.safetensors"
FACES = Path(ROOT or ".") / "data" / "lfwa_112"


def noise(count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, 112, 112), generator=generator, dtype=torch.uint8)


@pytest.mark.skipif(ROOT is None, reason="CURE_DATA_ROOT is not set: no published weights here")
@pytest.mark.skipif(not WEIGHTS.is_file(), reason=f"no published weights at {WEIGHTS}")
@pytest.mark.skipif(not FACES.is_dir(), reason=f"no LFW at {FACES}")
def test_mobilefacenet_reproduces_the_published_embeddings():
    """The reference was computed by the publisher's own code on these four images."""
    reference = json.loads(WEIGHTS.with_name("mobilefacenet_casia_reference.json").read_text())
    images = np.stack(
        [np.asarray(Image.open(FACES / f"{name}.jpg").convert("RGB")) for name in reference]
    )
    expected = torch.tensor(list(reference.values()))
    ours = raw_embeddings(build("mobilefacenet", WEIGHTS), images)
    assert expected.shape == (4, 128)
    torch.testing.assert_close(ours, expected, atol=1e-3, rtol=0)


def test_mobilefacenet_sees_columns_8_to_103_scaled_by_128():
    """The publisher's crop: 112 rows by 96 columns, (x - 127.5) / 128."""
    encoder, images = build("mobilefacenet"), noise()
    seen = []
    encoder.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoder(images)
    expected = (images.numpy()[:, :, :, 8:104].astype(np.float64) - 127.5) / 128
    np.testing.assert_allclose(seen[0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "dim", "millions"), [("mobilefacenet", 128, (0.9, 1.1)), ("small", 64, (0.25, 0.3))]
)
def test_uint8_images_in_float32_embeddings_out(name, dim, millions):
    encoder = build(name)
    assert not encoder.training
    raw = encoder(noise())
    assert raw.shape == (2, dim) == (2, encoder.dim)
    assert raw.dtype == torch.float32
    low, high = millions
    assert low < sum(p.numel() for p in encoder.parameters()) / 1e6 < high


def test_the_start_follows_the_seed_and_leaves_the_global_generator():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (build("small", seed=s).state_dict() for s in (7, 7, 8))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stem.conv.weight"], other["stem.conv.weight"])


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_are_taken_by_name_whatever_their_order(tmp_path, suffix):
    """Counters of batch norm are in no published file: they may be absent."""
    donor = build("small", seed=1)
    state = {k: v for k, v in donor.state_dict().items() if not k.endswith("_tracked")}
    state = dict(reversed(list(state.items())))
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    assert torch.equal(build("small", path)(noise()), donor(noise()))


def test_unknown_name_and_missing_file_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"resnet1.*mobilefacenet.*small"):
        build("resnet1")
    missing = tmp_path / "models" / "none.safetensors"
    with pytest.raises(FileNotFoundError, match=re.escape(str(missing))):
        build("mobilefacenet", missing)


def test_weights_that_do_not_fit_are_named_by_tensor(tmp_path):
    state = SmallEncoder().state_dict()
    state["stem.conv.weight"] = torch.zeros(5, 3, 3, 3)
    state["head.extra"] = state.pop("project.conv.weight")
    path = tmp_path / "misfit.safetensors"
    save_file(state, path)
    with pytest.raises(ValueError, match="does not fit SmallEncoder") as caught:
        build("small", path)
    message = str(caught.value)
    assert str(path) in message
    for part in ("missing ['project.conv.weight']", "unknown ['head.extra']", "stem.conv.weight"):
        assert part in message
    with pytest.raises(ValueError, match="does not fit MobileFaceNet"):
        build("mobilefacenet", path)


class Marker:
    """Unpickling this would make the file it names."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_code_in_a_weights_file_is_not_run(tmp_path):
    path, marker = tmp_path / "evil.pt", tmp_path / "code-was-run"
    torch.save({"stem.conv.weight": Marker(marker)}, path)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        build("small", path)
    assert not marker.exists()


def test_files_that_hold_no_weights_are_named(tmp_path):
    state, cut, empty, listed = SmallEncoder().state_dict(), *(tmp_path / n for n in NO_WEIGHTS)
    save_file(state, cut)
    cut.write_bytes(cut.read_bytes()[:-100])
    empty.write_bytes(b"")
    torch.save([1, 2], listed)
    for path in (cut, empty, listed):
        with pytest.raises(ValueError, match=re.escape(str(path))):
            build("small", path)


NO_WEIGHTS = ("cut.safetensors", "empty.pt", "listed.pt")


def test_mobilefacenet_is_made_of_its_published_stages():
    """arXiv:1804.07573, table 1: 1 + 1 convolutions, 15 bottlenecks, of which 12 have a skip."""
    blocks = MobileFaceNet().blocks
    assert len(blocks) == 5 + 1 + 6 + 1 + 2
    assert sum(block.residual for block in blocks) == 4 + 6 + 2


# Weights in the forms that people have them in.


def tiny() -> SmallEncoder:
    torch.manual_seed(3)
    return SmallEncoder(dim=8, widths=(4, 4, 4))


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(REGISTRY, "tiny", lambda: SmallEncoder(dim=8, widths=(4, 4, 4)))


def below(prefix, state):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def converted(state, dtype):
    return {n: t.to(dtype) if t.is_floating_point() else t for n, t in state.items()}


PREFIXES = ("module.", "_orig_mod.", "backbone.", "encoder.", "module._orig_mod.", "model.student.")
HEAD = {"head.weight": torch.ones(3, 8), "loss.head.bias": torch.ones(3)}
FORMS = {
    **{prefix: lambda state, prefix=prefix: below(prefix, state) for prefix in PREFIXES},
    **{
        key: lambda state, key=key: {"epoch": 3, key: state, "optimizer": {"state": {0: HEAD}}}
        for key in ("model", "state_dict", "net", "student", "teacher", "encoder", "anything")
    },
    "lightning": lambda state: {
        "pytorch-lightning_version": "2.4.0",
        "state_dict": below("model.backbone.", state) | HEAD,
        "hyper_parameters": {"lr": 0.1},
    },
    "nested twice": lambda state: {"model": {"state_dict": below("module.", state)}},
    "double": lambda state: converted(state, torch.float64),
    "bfloat16": lambda state: converted(state, torch.bfloat16),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_found_below_any_key_and_prefix(registered, tmp_path, form):
    donor, path = tiny(), tmp_path / "weights.pt"
    state = dict(donor.state_dict())
    torch.save(FORMS[form](state), path)
    loaded = build("tiny", path).state_dict()
    for name, tensor in state.items():
        expected = tensor.bfloat16().float() if form == "bfloat16" else tensor.float()
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name].float(), expected)


def test_of_two_networks_that_fit_neither_is_taken(registered, tmp_path):
    path = tmp_path / "both.pt"
    torch.save({"student": tiny().state_dict(), "teacher": tiny().state_dict()}, path)
    with pytest.raises(ValueError, match=r"2 networks that fit, at 'student\.', 'teacher\.'"):
        build("tiny", path)


def test_what_does_not_fit_below_a_prefix_is_named_without_it(registered, tmp_path):
    path, state = tmp_path / "weights.pt", dict(tiny().state_dict())
    del state["stem.conv.weight"]
    torch.save(below("module.", state), path)
    with pytest.raises(ValueError, match=r"missing \['stem.conv.weight'\], unknown \[\]") as caught:
        build("tiny", path)
    assert str(path) in str(caught.value)
    assert "below 'module.'" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.full((4, 3, 3, 3), torch.nan), "108 values that are NaN or infinite, of 108"),
        (torch.full((4, 3, 3, 3), 1e39, dtype=torch.float64), "NaN or infinite"),
        (torch.ones(4, 3, 3, 3, dtype=torch.int8), "is torch.int8, .* expected torch.float32"),
        (torch.ones(4, 3, 3, 3, dtype=torch.complex64), "is torch.complex64"),
        (torch.ones(4, 3, 3, 3).to_sparse(), "torch.sparse_coo"),
    ],
)
def test_numbers_that_are_no_weights_are_named_by_tensor_and_file(
    registered, tmp_path, value, message
):
    path = tmp_path / "weights.pt"
    torch.save(dict(tiny().state_dict()) | {"stem.conv.weight": value}, path)
    with pytest.raises(ValueError, match=message) as caught:
        build("tiny", path)
    assert f"{path}: stem.conv.weight" in str(caught.value)


def script(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates it; the files are still about
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)


WRONG_FILES = {
    "module.pt": (lambda path: torch.save(tiny(), path), r"torch\.save\(model\.state_dict\(\)"),
    "old_module.pt": (
        lambda path: torch.save(tiny(), path, _use_new_zipfile_serialization=False),
        r"torch\.save\(model\.state_dict\(\)",
    ),
    "script.pt": (script, "TorchScript archive; save the state dict alone"),
    "model.onnx": (lambda path: path.write_bytes(b"\x08\x08\x12\x07pytorch"), "ONNX"),
    "text.pt": (lambda path: path.write_text("weights", encoding="utf-8"), "neither safetensors"),
    "pointer.safetensors": (
        lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
        "git lfs pull",
    ),
    "empty.safetensors": (lambda path: path.write_bytes(b""), "it is empty"),
    "folder.safetensors": (lambda path: path.mkdir(), "is a folder"),
    "arrays.npz": (lambda path: np.savez(path, a=np.ones(2)), "torch.save did not write it"),
    "one_tensor.pt": (lambda path: torch.save(torch.ones(2), path), "no tensors by name"),
    "nothing.pt": (lambda path: torch.save({}, path), "no tensors by name"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_FILES)
def test_a_file_of_another_kind_is_named_with_the_remedy(registered, tmp_path, name):
    write, message = WRONG_FILES[name]
    path = tmp_path / name
    write(path)
    with pytest.raises(ValueError, match=message) as caught:
        build("tiny", path)
    said = str(caught.value)
    assert str(path) in said
    assert "weights_only" not in said  # torch's advice is to run the code in the file
    assert caught.value.__suppress_context__ or name == "folder.safetensors"


@pytest.mark.parametrize("kind", ["torch", "student"])
def test_a_damaged_weights_file_is_refused_or_gives_the_right_tensors(registered, tmp_path, kind):
    """Cuts and flipped bits, drawn at random, in files that have checksums."""
    path, state = tmp_path / "weights", tiny().state_dict()
    if kind == "torch":
        torch.save(state, path)
    else:
        write_model(path, state, {"seed": 1})
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for trial in range(60):
        damaged = bytearray(whole)
        if trial % 3:
            damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
        else:
            del damaged[rng.integers(len(damaged)) :]
        path.write_bytes(damaged)
        try:
            loaded = build("tiny", path).state_dict()
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017
            refused += 1
            continue
        assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())
    assert refused > 30


def test_a_file_without_checksums_is_read(registered, tmp_path):
    """torch.save leaves them out where its option says so."""
    path, before = tmp_path / "weights.pt", torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(tiny().state_dict(), path)
    finally:
        torch.serialization.set_crc32_options(before)
    assert torch.equal(build("tiny", path).stem.conv.weight, tiny().stem.conv.weight)


def test_an_unknown_encoder_is_told_the_nearest():
    with pytest.raises(ValueError, match="no encoder 'mobilfacenet'; did you mean 'mobilefacenet'"):
        build("mobilfacenet")
