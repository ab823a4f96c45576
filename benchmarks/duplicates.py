"""Copies of forgotten images: how many are found, and how many other images are taken for copies.

    PYTHONPATH=. CURE_DATA_ROOT=... python benchmarks/duplicates.py

On SynthFaces, and on LFW where `lfwa_112` is there; about two minutes. The goals: 99 % of the
copies of each kind are found; among pairs of different images, of one person or two, fewer than
one in a thousand counts as a copy.
"""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from cure_study.data.faceset import LeftOut
from cure_study.erasure.duplicates import duplicates
from cure_study.erasure.images import ImageFolder, read_folder
from cure_study.paths import data_root
from cure_study.synthfaces import generate


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def crop(image: Image.Image, *sides: float) -> Image.Image:
    """Without these shares at the left, top, right and bottom, at the same size."""
    left, top, right, bottom = sides
    w, h = image.size
    box = (left * w, top * h, w - right * w, h - bottom * h)
    return image.resize((w, h), Image.Resampling.BILINEAR, box)


def small(image: Image.Image, side: int) -> Image.Image:
    return image.resize((side, side)).resize(image.size)


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG, quality 20": lambda image: jpeg(image, 20),
    "reduced to 40 pixels": lambda image: small(image, 40),
    "cropped by 3 % a side": lambda image: crop(image, 0.03, 0.03, 0.03, 0.03),
    "cropped by 5 % a side": lambda image: crop(image, 0.05, 0.05, 0.05, 0.05),
    "cropped by 6 % at two sides": lambda image: crop(image, 0.06, 0, 0, 0.06),
    "darker, 0.6": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
    "brighter, 1.3": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "half the contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.5),
    "mirrored": ImageOps.mirror,
    "mirrored, cropped, darker, JPEG 40": lambda image: jpeg(
        ImageEnhance.Brightness(crop(ImageOps.mirror(image), 0.04, 0.02, 0, 0.05)).enhance(0.8), 40
    ),
}


def as_folder(images: np.ndarray) -> ImageFolder:
    names = tuple(f"{i:06d}" for i in range(len(images)))
    return ImageFolder(Path("faces"), names, images, LeftOut(), names)


def measure(images: np.ndarray, people: np.ndarray, forget: np.ndarray) -> dict[str, float]:
    """Recall of each kind of copy, and the share of pairs of images that count as copies."""
    rates = {}
    for name, change in COPIES.items():
        copies = np.stack([np.asarray(change(Image.fromarray(images[i]))) for i in forget])
        folder = as_folder(np.concatenate([images[forget], copies]))
        originals, index = np.arange(len(forget)), len(forget) + np.arange(len(forget))
        found = duplicates(folder, originals, index, progress=False)
        right = found.file.astype(int) - len(forget) == found.like.astype(int)
        rates[name] = right.sum() / len(forget)
    others = np.setdiff1d(np.arange(len(images)), forget)
    found = duplicates(as_folder(images), forget, others, progress=False)
    same = people[found.file.astype(int)] == people[found.like.astype(int)]
    pairs = (people[forget][:, None] == people[others]).sum()
    rates["pairs of one person taken for copies"] = same.sum() / max(pairs, 1)
    rates["other pairs taken for copies"] = (~same).sum() / (len(forget) * len(others) - pairs)
    return rates


def main(forgotten: int = 500) -> int:
    rng = np.random.default_rng(0)
    faces = generate(n_people=200, images_per_person=20, seed=0)
    sets = {"SynthFaces": (np.asarray(faces.images), faces.identities)}
    if (root := data_root() / "data" / "lfwa_112").is_dir():
        folder = read_folder(root)
        people = np.unique([file.split("/")[0] for file in folder.files], return_inverse=True)[1]
        sets["LFW"] = (folder.images, people)
    good = True
    for name, (images, people) in sets.items():
        forget = np.sort(rng.choice(len(images), forgotten, replace=False))
        print(f"{name}: {forgotten:,} of {len(images):,} images forgotten")
        for label, rate in measure(images, people, forget).items():
            print(f"  {label:40} {rate:.3g}")
            good &= rate < 1e-3 if "taken" in label else rate >= 0.99
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
