"""Scorers of quality: monotone on images degraded step by step, and every wrong argument."""

import io

import numpy as np
import pytest
import torch
from image_list import ImageList
from PIL import Image
from scipy.ndimage import gaussian_filter, gaussian_laplace
from torch import nn

from cure_study.data.faceset import FaceSet
from cure_study.experiments.quality import scorers
from cure_study.synthfaces import generate


@pytest.fixture(scope="module")
def faces():
    """The better half of 48 synthetic faces."""
    drawn = generate(12, 4, seed=100)
    return drawn.images[drawn.attributes.quality > drawn.attributes.quality.median()]


def blurred(images, sigma):
    return gaussian_filter(images, (0, sigma, sigma, 0))


def noisy(images, sd):
    noise = np.random.default_rng(0).normal(0, sd, images.shape)
    return (images + noise).clip(0, 255).astype(np.uint8)


def compressed(images, setting):
    def one(image):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=setting)
        return np.asarray(Image.open(buffer))

    return np.stack([one(image) for image in images])


def resized(images, cells):
    """Resized to fewer pixels a side and back."""

    def one(image):
        small = Image.fromarray(image).resize((cells, cells), Image.Resampling.BILINEAR)
        return np.asarray(small.resize((112, 112), Image.Resampling.BILINEAR))

    return np.stack([one(image) for image in images])


def dimmed(images, factor):
    return (images * factor).astype(np.uint8)


def greyed(images, factor):
    return (127 + factor * (images.astype(float) - 127)).astype(np.uint8)


def shifted(images, pixels):
    return np.roll(images, pixels, axis=2)


STEPS = [
    ("sharpness", blurred, (0, 1, 2, 4)),
    ("sharpness", resized, (112, 56, 36, 24)),
    ("detail", blurred, (0, 1, 2, 4)),
    ("detail", resized, (112, 56, 36, 24)),
    ("edges", noisy, (0, 8, 16, 32)),
    ("edges", blurred, (0, 0.7, 1.4)),
    ("noise", noisy, (0, 8, 16, 32)),
    ("compression", compressed, (95, 40, 15, 5)),
    ("exposure", dimmed, (1, 0.7, 0.45, 0.2)),
    ("contrast", greyed, (1, 0.7, 0.4, 0.1)),
    ("symmetry", shifted, (0, 4, 8, 12)),
    ("fused_together", blurred, (0, 1, 2, 4)),
    ("fused_together", noisy, (0, 8, 16, 32)),
]


@pytest.mark.parametrize(("scorer", "degrade", "steps"), STEPS)
def test_scores_fall_on_average_step_by_step(faces, scorer, degrade, steps):
    versions = [degrade(faces, step) for step in steps]
    if scorer == "fused_together":  # its ranks hold within one call
        means = scorers.score(np.concatenate(versions), "fused").reshape(len(steps), -1).mean(1)
    else:
        means = [scorers.score(version, scorer).mean() for version in versions]
    assert (np.diff(means) < 0).all(), means


class Pixels(nn.Module):
    """A toy encoder: the 14 x 14 means of luminance, without their mean, through one layer."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(196, 196, bias=False)
        nn.init.eye_(self.last.weight)

    def forward(self, images):
        cells = nn.functional.avg_pool2d(images.float().mean(1, keepdim=True), 8).flatten(1)
        return self.last(cells - cells.mean(1, keepdim=True))


def test_the_norm_is_the_length_of_the_embedding(faces):
    """A linear encoder of centred pixels: half the contrast is half the norm, up to rounding."""
    whole, half = (scorers.score(greyed(faces, f), "norm", Pixels()) for f in (1, 0.5))
    np.testing.assert_allclose(half / whole, 0.5, atol=0.02)


def test_mirror_agreement_falls_as_a_face_moves_aside(faces):
    means = [
        scorers.score(shifted(faces, s), "mirror_agreement", Pixels()).mean() for s in (0, 6, 12)
    ]
    assert (np.diff(means) < 0).all(), means
    even = np.concatenate([faces[:, :, :56], faces[:, :, 55::-1]], axis=2)
    np.testing.assert_allclose(scorers.score(even, "mirror_agreement", Pixels()), 1, atol=1e-5)


class Votes(nn.Module):
    """A toy encoder: light in the upper cells votes for one direction, below for another."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(196, 2, bias=False)
        with torch.no_grad():
            self.last.weight.copy_(torch.eye(2).repeat_interleave(98, 1))

    def forward(self, images):
        return self.last(nn.functional.avg_pool2d(images.float().mean(1), 8).flatten(1))


def test_dropout_agreement_falls_as_features_contradict_each_other():
    means = []
    for against in (0, 0.2, 0.4, 0.7):
        cells = np.zeros((6, 14, 14), np.uint8)
        cells[:, ::3, ::4] = 200  # few, so that each one dropped matters
        cells[:, 7:] = cells[:, 7:] * against
        images = cells.repeat(8, 1).repeat(8, 2)[..., None].repeat(3, 3)
        means.append(scorers.score(images, "dropout_agreement", Votes()).mean())
    assert means[0] == pytest.approx(1, abs=1e-3)  # all agree, whichever is missing
    assert (np.diff(means) < 0).all(), means


def test_dropout_agreement_is_the_same_twice_and_for_a_part(faces):
    encoder = Pixels()
    whole = scorers.score(faces, "dropout_agreement", encoder)
    np.testing.assert_array_equal(whole, scorers.score(faces, "dropout_agreement", encoder))
    part = scorers.score(faces[:3], "dropout_agreement", encoder)
    np.testing.assert_allclose(part, whole[:3], atol=1e-5)
    assert not encoder.last._forward_pre_hooks, "the hook must not stay"


def test_cluster_margin_falls_on_the_way_to_another_cluster(draw_faces):
    images, _ = draw_faces(4, 12)
    first, second = images[:12].mean(0), images[12:24].mean(0)
    between = np.stack([first + step * (second - first) for step in (0, 0.25, 0.35, 0.45)])
    everything = np.concatenate([images, between]).astype(np.uint8)
    scores = scorers.score(everything, "cluster_margin", Pixels())[len(images) :]
    assert (np.diff(scores) < 0).all(), scores


def test_fused_is_the_weighted_geometric_mean_of_ranks(faces):
    ranks = []
    for name, count in scorers.FUSED.items():
        scores = scorers.score(faces, name)
        ranks += count * [[(scores < value).sum() + 1 for value in scores]]  # no ties here
    by_hand = np.prod(np.array(ranks) / len(faces), axis=0) ** (1 / len(ranks))
    np.testing.assert_allclose(scorers.score(faces, "fused"), by_hand, rtol=1e-5)
    with_encoder = scorers.score(faces, "fused", Pixels())
    assert not np.allclose(with_encoder, by_hand)


@pytest.mark.parametrize("name", scorers.SCORERS)
def test_every_scorer_gives_one_float32_an_image_and_leaves_the_images(faces, name):
    before = faces.copy()
    scores = scorers.score(faces, name, Pixels())
    assert scores.shape == (len(faces),)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(faces, before)


@pytest.mark.parametrize("name", [*scorers.CLASSICAL, "norm", "mirror_agreement"])
def test_a_flat_image_has_a_finite_score_and_chunks_do_not_matter(faces, name, monkeypatch):
    images = np.concatenate([np.full((2, 112, 112, 3), 7, np.uint8), faces[:5]])
    whole = scorers.score(images, name, Pixels())
    monkeypatch.setattr(scorers, "CHUNK", 2)
    np.testing.assert_allclose(scorers.score(images, name, Pixels()), whole, rtol=1e-4, atol=1e-5)


def test_edges_are_the_kurtosis_of_the_filtered_face(faces):
    from scipy.stats import kurtosis

    grey = faces @ np.array([0.299, 0.587, 0.114])
    filtered = np.stack([gaussian_laplace(image, 0.6) for image in grey])
    filtered = filtered[:, 24:104, 20:92].reshape(len(faces), -1)
    np.testing.assert_allclose(scorers.score(faces, "edges"), kurtosis(filtered, axis=1), rtol=1e-3)


def test_a_function_as_scorer(faces):
    scores = scorers.score(faces, lambda images: np.arange(len(images)))
    assert scores.tolist() == list(range(len(faces)))


@pytest.mark.parametrize(
    ("images", "scorer", "encoder", "message"),
    [
        (np.zeros((2, 112, 112, 3), np.uint8), "beauty", None, "no scorer 'beauty'; there are sha"),
        (np.zeros((0, 112, 112, 3), np.uint8), "sharpness", None, "the image set is empty"),
        (np.zeros((2, 112, 112, 3)), "sharpness", None, "the image set holds float64"),
        (np.zeros((2, 96, 96, 3), np.uint8), "sharpness", None, "the images are 96 x 96"),
        (np.zeros((2, 112, 112, 3), np.uint8), "norm", None, "'norm' looks through an encoder"),
        (
            np.zeros((2, 112, 112, 3), np.uint8),
            lambda images: [1.0, np.nan],
            None,
            r"1 scores that are not finite \(first: nan for image 1\)",
        ),
        (np.zeros((2, 112, 112, 3), np.uint8), lambda images: [1.0], None, r"shape \(1,\) for 2"),
        (
            np.zeros((2, 112, 112, 3), np.uint8),
            "dropout_agreement",
            nn.Sequential(nn.AvgPool2d(56), nn.Flatten()),
            "Sequential has no linear or convolutional layer",
        ),
        (np.zeros((2, 112, 112, 3), np.uint8), "cluster_margin", Pixels(), "needs 4 distinct"),
    ],
)
def test_arguments_that_are_refused(images, scorer, encoder, message):
    with pytest.raises(ValueError, match=message):
        scorers.score(images, scorer, encoder)


def test_a_request_takes_a_threshold_only_on_scores_that_hold_for_other_images():
    drawn = FaceSet("painted", np.zeros((4, 112, 112, 3), np.uint8), np.arange(4), "0")
    brightest_last = lambda images: np.arange(len(images))  # noqa: E731
    with pytest.warns(UserWarning, match="1 people would lose every image"):
        request = scorers.lowest_quality(drawn, brightest_last, threshold=0.5)
    assert request.forget_index.tolist() == [0]
    with pytest.raises(ValueError, match="'fused' compares the images of one call"):
        scorers.lowest_quality(drawn, "fused", threshold=0.1)


def test_the_encoder_keeps_its_mode(faces):
    encoder = Pixels().train()
    scorers.score(faces[:4], "dropout_agreement", encoder)
    assert encoder.training
    assert torch.equal(encoder.last.weight, torch.eye(196))


def test_dropout_agreement_holds_one_batch_of_passes_at_a_time(faces, monkeypatch):
    """The naive way embeds all N x 40 and compares them afterwards: the same numbers."""
    encoder, largest = Pixels(), []
    stacked = []

    def watch(module, inputs, output):
        largest.append(len(output))
        stacked.append(output.detach())

    hook = encoder.register_forward_hook(watch)
    many = np.concatenate([faces] * 4)  # more than one batch
    scores = scorers.score(many, "dropout_agreement", encoder)
    hook.remove()
    assert max(largest) == 64 * 40
    unit = nn.functional.normalize(torch.cat(stacked), dim=1).double().numpy().reshape(-1, 40, 196)
    for image in (0, len(many) - 1):
        distances = [
            np.linalg.norm(unit[image, i] - unit[image, j]) for i in range(40) for j in range(i)
        ]
        assert scores[image] == pytest.approx(2 / (1 + np.exp(np.mean(distances))), rel=1e-4)


def test_a_data_set_indexed_by_number_is_scored(faces):
    for name in ("sharpness", "mirror_agreement", "dropout_agreement"):
        np.testing.assert_array_equal(
            scorers.score(ImageList(faces), name, Pixels()), scorers.score(faces, name, Pixels())
        )
