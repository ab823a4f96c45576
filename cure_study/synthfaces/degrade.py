"""What the camera and the file do to an image: blur, resolution, noise, compression."""

from functools import cache
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cure_study.synthfaces.canvas import Field, crops, static
from cure_study.synthfaces.people import SIZE, Columns

LENS = 0.35  # px: the blur of the best image


def degrade(canvas: Field, capture: Columns) -> NDArray[np.uint8]:
    """Images (B, SIZE, SIZE, 3) uint8 from a canvas (B, 3, SIZE, SIZE) float32."""
    lens = optics(np.hypot(capture["blur"], LENS), capture["resolution"])
    seen = lens[:, None] @ canvas @ lens.transpose(0, 2, 1)[:, None]
    grains = crops(static(), capture["texture_b"], capture["texture_a"], SIZE)
    seen = seen + grains * capture["noise"].astype(np.float32)[:, None, None, None]
    levels = np.clip(seen * np.float32(255) + np.float32(0.5), 0, 255).astype(np.uint8)
    images = np.ascontiguousarray(levels.transpose(0, 2, 3, 1))
    for image, setting in zip(images, capture["jpeg"], strict=True):
        if setting < 100:
            image[:] = compress(image, int(setting))
    return images


def optics(sigma: NDArray[np.float64], resolution: NDArray[np.float64]) -> Field:
    """What lens and sensor do to one axis, as matrices (B, SIZE, SIZE) with rows summing to 1.

    Both are linear and act on rows and columns alike, so an image X becomes M X M'. The lens is a
    Gaussian of the given sigma in pixels; the sensor averages the image into `resolution` cells
    and draws it up again linearly.
    """
    at = np.arange(SIZE)
    kernel = np.exp(-(at**2) / (2 * sigma[:, None] ** 2)).astype(np.float32)
    kernel[kernel < 1e-5] = 0  # numbers this small would only slow the product down
    lens = np.take(kernel, np.abs(at[:, None] - at), axis=1)
    lens /= lens.sum(axis=2, keepdims=True)
    for k in np.flatnonzero(resolution < SIZE):
        lens[k] = _sensor(int(resolution[k])) @ lens[k]
    return lens


@cache
def _sensor(cells: int) -> Field:
    """Averaging SIZE pixels into cells and interpolating back, (SIZE, SIZE)."""
    edges = np.linspace(0, SIZE, cells + 1)
    at = np.arange(SIZE)
    shrink = np.clip(np.minimum(edges[1:, None], at + 1) - np.maximum(edges[:-1, None], at), 0, 1)
    shrink /= shrink.sum(axis=1, keepdims=True)
    place = np.clip((at + 0.5) * cells / SIZE - 0.5, 0, cells - 1)
    grow = np.maximum(1 - np.abs(place[:, None] - np.arange(cells)), 0)
    return (grow @ shrink).astype(np.float32)


def compress(image: NDArray[np.uint8], setting: int) -> NDArray[np.uint8]:
    """An image through JPEG at Pillow's quality `setting`."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=setting)
    return np.asarray(Image.open(buffer, formats=["JPEG"]))
