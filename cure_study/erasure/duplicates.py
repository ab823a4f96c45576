"""Copies of the forgotten images among the others: what a list forgot.

A near duplicate is a copy that was encoded again, resized, made darker or brighter, mirrored, or
cropped by up to a twentieth at a side. Two photos of one person are none. Images are compared by
small grey thumbnails without their coarse shading, which is alike in all aligned faces: by the
best correlation over crops and mirror images of the forgotten one. Our choice, calibrated on LFW
and SynthFaces: `benchmarks/duplicates.py` measures what is found and what is found wrongly.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter

from cure_core.runtime.progress import bar
from cure_study.erasure.images import ImageFolder, pixel_digests

NEAR = 0.92  # correlation from which an image counts as a near duplicate
SIGMA = 2  # thumbnail pixels: coarser shading is removed
INNER = 0.875  # the middle of an image, whose thumbnail is sought in the forgotten one
BLOCK = 8192  # images compared at a time

Box = tuple[float, float, float, float]  # left, top, right, bottom, as shares of width and height


def _boxes(scales: np.ndarray, shifts: np.ndarray) -> list[Box]:
    """Squares of `INNER` times each scale, shifted by shares of the image; those inside it."""
    boxes = []
    for scale, dx, dy in product(scales, shifts, shifts):
        half = INNER * scale / 2
        box = (0.5 + dx - half, 0.5 + dy - half, 0.5 + dx + half, 0.5 + dy + half)
        if min(box) > -1e-6 and max(box) < 1 + 1e-6:
            left, top, right, bottom = np.clip(box, 0, 1).tolist()
            boxes.append((left, top, right, bottom))
    return boxes


@dataclass(frozen=True)
class Grid:
    """Thumbnails of `side` pixels, and where in a forgotten image another's middle may lie."""

    side: int
    boxes: list[Box]


# The coarse grid finds the pairs worth comparing by the fine one, which has 40 times its boxes.
COARSE, CANDIDATE = Grid(16, _boxes(np.linspace(0.86, 1.14, 5), np.zeros(1))), 0.55
FINE = Grid(24, _boxes(np.linspace(0.86, 1.14, 9), np.linspace(-0.036, 0.036, 5)))
MIDDLE = _boxes(np.ones(1), np.zeros(1))


def duplicates(
    folder: ImageFolder,
    forget: np.ndarray,
    among: np.ndarray,
    progress: bool | None = None,
) -> pd.DataFrame:
    """The images of `among` that are copies of a forgotten one; both are positions in the folder.

    One row an image, in the order of `among`: `file`; `kind`, "exact" (the same bytes, or the same
    pixels once decoded) or "near"; `like`, the forgotten file; `similarity`, at most 1, of exact
    copies 1. Takes up to 7 KB of memory an image of `among`.
    """
    like = _exact(folder, forget, among)
    others = np.array([i for i in among if i not in like], np.int64)
    rows = {i: ("exact", original, 1.0) for i, original in like.items()}
    for i, original, similarity in _near(folder.images, forget, others, progress):
        rows[i] = ("near", original, similarity)
    return pd.DataFrame(
        [
            (folder.files[i], rows[i][0], folder.files[rows[i][1]], rows[i][2])
            for i in among
            if i in rows
        ],
        columns=["file", "kind", "like", "similarity"],
    ).astype({"similarity": float})


def _exact(folder: ImageFolder, forget: np.ndarray, among: np.ndarray) -> dict[int, int]:
    """The first forgotten image with the same bytes or pixels, of each image that has one."""
    by_bytes = {folder.sha256[i]: i for i in forget[::-1]}
    by_pixels = dict(zip(pixel_digests(folder.images, forget[::-1]), forget[::-1], strict=True))
    pixels = zip(among, pixel_digests(folder.images, among), strict=True)
    found = {i: by_bytes.get(folder.sha256[i], by_pixels.get(digest)) for i, digest in pixels}
    return {i: original for i, original in found.items() if original is not None}


def _near(
    images: np.ndarray, forget: np.ndarray, among: np.ndarray, progress: bool | None
) -> Iterator[tuple[int, int, float]]:
    """Image, most similar forgotten image, and similarity, of each near duplicate."""
    if not len(among):
        return
    coarse, fine = (_middles(images, among, grid.side) for grid in (COARSE, FINE))
    best, original = np.zeros(len(among), np.float32), np.zeros(len(among), np.int64)
    for i in bar(forget, "looking for copies", progress, "image"):
        templates = _templates(images[i], COARSE).T
        blocks = (coarse[start : start + BLOCK] for start in range(0, len(among), BLOCK))
        similar = np.concatenate([(block @ templates).max(1) for block in blocks])
        candidates = np.flatnonzero(similar > CANDIDATE)
        if not len(candidates):
            continue
        similarity = (fine[candidates] @ _templates(images[i], FINE).T).max(1)
        better = similarity > best[candidates]
        best[candidates[better]] = similarity[better]
        original[candidates[better]] = i
    for k in np.flatnonzero(best >= NEAR):
        yield among[k], original[k], min(float(best[k]), 1.0)


def _middles(images: np.ndarray, index: np.ndarray, side: int) -> np.ndarray:
    """The thumbnails of these images' middles, made in threads."""
    blocks = np.array_split(index, -(-len(index) // 256))
    with ThreadPoolExecutor() as pool:
        return np.concatenate(
            list(pool.map(lambda block: _thumbnails(images[block], side, MIDDLE), blocks))
        )


def _templates(image: np.ndarray, grid: Grid) -> np.ndarray:
    """The thumbnails of an image's crops and of their mirror images."""
    crops = _thumbnails(image[None], grid.side, grid.boxes)
    mirrored = crops.reshape(-1, grid.side, grid.side)[:, :, ::-1].reshape(crops.shape)
    return np.concatenate([crops, mirrored])


def _thumbnails(images: np.ndarray, side: int, boxes: list[Box]) -> np.ndarray:
    """(images * boxes, side * side) float32, each of mean 0 and length 1; 0 where all is flat."""
    height, width = images.shape[1:3]
    grey = []
    for image in images:
        source = Image.fromarray(image).convert("L")
        for left, top, right, bottom in boxes:
            box = (left * width, top * height, right * width, bottom * height)
            grey.append(np.asarray(source.resize((side, side), Image.Resampling.BILINEAR, box)))
    stack = np.array(grey, np.float32).reshape(-1, side, side)
    detail = stack - gaussian_filter(stack, (0, SIGMA, SIGMA), mode="nearest")
    x = detail.reshape(len(detail), -1)
    x -= x.mean(1, keepdims=True)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-3)
