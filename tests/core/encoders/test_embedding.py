import numpy as np
import pytest
import torch
from image_list import ImageList
from torch import nn

from cure_core.encoders.embedding import embed, module_device, raw_embeddings
from cure_core.encoders.images import content_digest, mirrored


class Stub(nn.Module):
    """The mean colour of the left half, and the parameters' sum, so that NaN weights show."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(()))

    def forward(self, images):
        return images[..., :56].float().mean((2, 3)) + self.shift


def test_rows_have_length_one_and_follow_the_images(tiny_encoder, draw_faces):
    images, _ = draw_faces(3, 2)
    encoder = tiny_encoder()
    result = embed(encoder, images)
    with torch.no_grad():
        raw = encoder(torch.from_numpy(images.copy()).movedim(3, 1)).double().numpy()
    assert result.shape == (6, 16)
    assert result.dtype == torch.float32
    assert result.device.type == "cpu"
    expected = raw / np.sqrt((raw**2).sum(1, keepdims=True))
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("mode", [True, False])
def test_runs_in_eval_mode_and_gives_the_mode_back(tiny_encoder, draw_faces, mode):
    images, _ = draw_faces(2, 2)
    encoder = tiny_encoder().train(mode)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    assert torch.equal(embed(encoder, images), embed(tiny_encoder(), images))
    assert all(module.training == mode for module in encoder.modules())
    assert all(torch.equal(t, before[name]) for name, t in encoder.state_dict().items())


def test_the_mode_comes_back_also_after_an_error(draw_faces):
    class Broken(Stub):
        def forward(self, images):
            raise RuntimeError("out of memory")

    encoder = Broken().train()
    with pytest.raises(RuntimeError, match="out of memory"):
        embed(encoder, draw_faces(1, 2)[0])
    assert encoder.training


def test_mirror_puts_the_mirrored_image_beside_and_normalises_both_together(draw_faces):
    images, _ = draw_faces(2, 2)
    left = images[:, :, :56].astype(np.float64).mean((1, 2))
    right = images[:, :, 56:].astype(np.float64).mean((1, 2))
    both = np.concatenate([left, right], 1)
    both /= np.sqrt((both**2).sum(1, keepdims=True))
    np.testing.assert_allclose(embed(Stub(), images, mirror=True).numpy(), both, atol=1e-6)


def test_a_view_is_what_the_encoder_sees(draw_faces):
    images, _ = draw_faces(2, 2)
    right = images[:, :, 56:].astype(np.float64).mean((1, 2))
    left = raw_embeddings(Stub(), images, view=mirrored)
    np.testing.assert_allclose(left.numpy(), right, rtol=1e-6)
    dark = raw_embeddings(Stub(), images, view=torch.zeros_like, batch_size=3)
    assert torch.equal(dark, torch.zeros(4, 3))


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_batch_size_does_not_matter(tiny_encoder, draw_faces, batch_size):
    images, _ = draw_faces(7, 1)
    expected = embed(tiny_encoder(), images)
    result = embed(tiny_encoder(), images, batch_size=batch_size)
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=0)


def test_array_tensor_map_and_data_set_are_the_same(tiny_encoder, draw_faces, tmp_path):
    images, _ = draw_faces(2, 3)
    images.tofile(tmp_path / "images.u8")
    mapped = np.memmap(tmp_path / "images.u8", np.uint8, "r", shape=images.shape)
    expected, known = embed(tiny_encoder(), images), content_digest(images)
    tensor = torch.from_numpy(images.copy())
    for same in (mapped, tensor, ImageList(images), list(tensor), images[::-1][::-1]):
        assert torch.equal(embed(tiny_encoder(), same), expected)
        assert content_digest(same) == known


def test_content_digest_sees_every_pixel_and_the_order(monkeypatch):
    images = np.zeros((1025, 2, 2, 3), np.uint8)  # more than one chunk
    changed = images.copy()
    changed[1024, 1, 1, 2] = 1
    first = changed[::-1]
    digests = {content_digest(x) for x in (images, changed, first, images[:1024])}
    assert len(digests) == 4


def test_the_result_can_be_trained_on(tiny_encoder, draw_faces):
    """Tensors made in inference mode would refuse."""
    weight = torch.ones(16, 2, requires_grad=True)
    (embed(tiny_encoder(), draw_faces(2, 2)[0]) @ weight).sum().backward()
    assert weight.grad is not None


def test_damaged_weights_name_the_first_image(draw_faces):
    images, _ = draw_faces(5, 1)

    class Holes(Stub):
        def forward(self, batch):
            raw = super().forward(batch)
            return raw.where(~(batch == 255).all((1, 2, 3))[:, None], torch.inf)

    holed = images.copy()
    holed[[3, 4]] = 255
    with pytest.raises(ValueError, match=r"2 images are not finite .first: image 3"):
        embed(Holes(), holed, batch_size=2)
    ruined = Stub()
    nn.init.constant_(ruined.shift, torch.nan)
    with pytest.raises(ValueError, match=r"5 images are not finite .first: image 0"):
        raw_embeddings(ruined, images)


@pytest.mark.parametrize("nothing", [np.empty((0, 112, 112, 3), np.uint8), []])
def test_an_empty_set_is_refused(tiny_encoder, nothing):
    with pytest.raises(ValueError, match="empty"):
        embed(tiny_encoder(), nothing)


def test_images_scaled_to_one_are_refused(tiny_encoder, draw_faces):
    """They would pass for nearly black faces."""
    with pytest.raises(ValueError, match="uint8"):
        embed(tiny_encoder(), draw_faces(1, 2)[0] / 255)


def test_half_precision_encoders_give_float32(draw_faces):
    images, _ = draw_faces(1, 2)
    half = torch.nn.Sequential(Stub(), _To(torch.bfloat16))
    assert embed(half, images).dtype == torch.float32


class _To(nn.Module):
    def __init__(self, dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x):
        return x.to(self.dtype)


def test_device_of_a_module_without_tensors_is_the_cpu():
    assert module_device(nn.Identity()) == torch.device("cpu")
    assert module_device(nn.BatchNorm1d(2, affine=False, device="meta")).type == "meta"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((2, 3, 112, 112), np.uint8), r"shape \(3, 112, 112\); expected uint8"),
        ([(np.zeros((112, 112, 3), np.uint8), 5)], "the image set yields tuple; expected images"),
        ([{"image": 1}], "the image set yields dict"),
    ],
)
def test_what_is_no_set_of_images_is_named_and_the_mode_stays(tiny_encoder, wrong, message):
    encoder = tiny_encoder().train()
    with pytest.raises(ValueError, match=message):
        embed(encoder, wrong)
    assert encoder.training
