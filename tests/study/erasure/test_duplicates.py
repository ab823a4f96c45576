"""Copies of forgotten images among the others, on synthetic faces."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from cure_study.data.faceset import LeftOut
from cure_study.erasure import duplicates as module
from cure_study.erasure.duplicates import duplicates
from cure_study.erasure.images import ImageFolder
from cure_study.synthfaces import generate

PEOPLE, EACH = 12, 4


@pytest.fixture(scope="module")
def faces():
    return np.asarray(generate(n_people=PEOPLE, images_per_person=EACH, seed=3).images)


def as_folder(tmp_path, images, sha256=None):
    files = tuple(f"{i}.png" for i in range(len(images)))
    return ImageFolder(tmp_path, files, np.asarray(images), LeftOut(), sha256 or files)


def jpeg(image):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=30)
    return Image.open(file).convert("RGB")


def cropped(image, share):
    w, h = image.size
    box = (share * w, share * h, w - share * w, h - share * h)
    return image.resize(image.size, Image.Resampling.BILINEAR, box)


COPIES = {
    "encoded again": jpeg,
    "resized": lambda image: image.resize((50, 50)).resize(image.size),
    "cropped": lambda image: cropped(image, 0.05),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.25),
    "mirrored": ImageOps.mirror,
    "all": lambda image: jpeg(
        ImageEnhance.Brightness(cropped(ImageOps.mirror(image), 0.03)).enhance(0.8)
    ),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_changed_copy_is_found_either_way_round(tmp_path, faces, kind):
    """Every copy, and nothing else, among all faces: whether the original or the copy goes."""
    count = len(faces)
    copies = [np.asarray(COPIES[kind](Image.fromarray(faces[i]))) for i in (0, 5, 40)]
    folder = as_folder(tmp_path, [*faces, *copies])
    originals, index = np.array([0, 5, 40]), np.arange(count, count + 3)
    found = duplicates(folder, originals, np.setdiff1d(np.arange(count + 3), originals))
    assert found.file.tolist() == [f"{i}.png" for i in index]
    assert found.like.tolist() == ["0.png", "5.png", "40.png"]
    assert (found.kind == "near").all()
    assert found.similarity.between(0.92, 1).all()
    reverse = duplicates(folder, index, np.arange(count))
    assert reverse.file.tolist() == ["0.png", "5.png", "40.png"]
    assert reverse.like.tolist() == [f"{i}.png" for i in index]


def test_other_images_of_a_person_are_no_copies(tmp_path, faces):
    forget = np.arange(0, len(faces), EACH)
    among = np.setdiff1d(np.arange(len(faces)), forget)
    found = duplicates(as_folder(tmp_path, faces), forget, among)
    assert found.empty
    assert list(found.columns) == ["file", "kind", "like", "similarity"]


def test_the_same_bytes_and_the_same_pixels_are_exact(tmp_path, faces):
    """Image 3 has the bytes of 0, though other pixels; 4 the pixels of 1 under other bytes."""
    images = [faces[0], faces[5], faces[10], faces[15], faces[5], faces[20]]
    folder = as_folder(tmp_path, images, ("a", "b", "c", "a", "d", "e"))
    found = duplicates(folder, np.array([0, 1]), np.array([5, 4, 3, 2]))
    assert found.to_dict("list") == {
        "file": ["4.png", "3.png"],
        "kind": ["exact", "exact"],
        "like": ["1.png", "0.png"],
        "similarity": [1.0, 1.0],
    }


@pytest.mark.parametrize("shape", [(112, 96), (160, 160), (40, 60)])
def test_images_of_any_shape_are_compared(tmp_path, faces, shape):
    resized = [np.asarray(Image.fromarray(face).resize(shape[::-1])) for face in faces[::EACH]]
    copy = np.asarray(cropped(Image.fromarray(resized[4]), 0.04))
    found = duplicates(
        as_folder(tmp_path, [*resized, copy]), np.array([4]), np.array([0, 1, 2, 3, PEOPLE])
    )
    assert found.file.tolist() == [f"{PEOPLE}.png"]
    assert found.like.tolist() == ["4.png"]


def test_flat_images_resemble_nothing(tmp_path, faces):
    flat = [np.full((112, 112, 3), value, np.uint8) for value in (0, 90, 200)]
    found = duplicates(as_folder(tmp_path, [*flat, faces[0]]), np.array([0]), np.array([1, 2, 3]))
    assert found.empty


def test_nothing_among_nothing(tmp_path, faces):
    folder = as_folder(tmp_path, faces[:2])
    assert duplicates(folder, np.array([0]), np.array([], np.int64)).empty


def test_blocks_give_the_same_result(tmp_path, faces, monkeypatch):
    copies = [np.asarray(jpeg(Image.fromarray(face))) for face in faces[:7]]
    folder = as_folder(tmp_path, [*faces, *copies])
    forget, among = np.arange(7), np.arange(7, len(faces) + 7)
    whole = duplicates(folder, forget, among)
    monkeypatch.setattr(module, "BLOCK", 10)
    assert duplicates(folder, forget, among).equals(whole)
    assert len(whole) == 7
