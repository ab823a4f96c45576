import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from cure_core.embedding import raw_embeddings
from cure_core.encoders import MobileFaceNet, SmallEncoder, build

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
