"""Soft edges, humps, paint and textures. All arrays are float32."""

from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from cure_study.synthfaces.people import SIZE

Field = NDArray[np.floating]  # float32, here and wherever an image is drawn
Window = tuple[slice, slice]  # rows and columns of the image
T = TypeVar("T")
TILE = 256


def window(top: int, bottom: int, left: int, right: int) -> Window:
    return slice(top, bottom), slice(left, right)


def both_sides(top: int, bottom: int, left: int, right: int) -> dict[int, Window]:
    """A window on the left side of the image (-1) and its mirror image on the right (1)."""
    return {
        -1: window(top, bottom, left, right),
        1: window(top, bottom, SIZE - right, SIZE - left),
    }


def some(thing: T, rows: NDArray[np.intp]) -> T:
    """The same object for some rows of the chunk: all its attributes are arrays (B, ...)."""
    part = type(thing).__new__(type(thing))
    vars(part).update({name: array[rows] for name, array in vars(thing).items()})
    return part


def pixel_axes() -> tuple[Field, Field]:
    """The pixels' x (1, 1, SIZE) and y (1, SIZE, 1), from -0.5 to 0.5 across the image."""
    at = np.arange(SIZE, dtype=np.float32) / SIZE - 0.5
    return at[None, None, :], at[None, :, None]


def inside(distance: Field, softness: float = 1.1) -> Field:
    """1 where a signed distance in pixels is negative, 0 where positive, smooth between."""
    return np.clip(distance * np.float32(-1 / softness) + np.float32(0.5), 0, 1)


def hump(square: Field) -> Field:
    """(1 - q)^2 for a squared radius q below 1, else 0: a cheap Gaussian that ends."""
    return np.maximum(np.float32(1) - square, 0) ** 2


def paint(canvas: Field, mask: Field, colour: Field) -> None:
    """Blend a colour (B, 3, h, w), or one that broadcasts, into the canvas (B, 3, h, w) in place.

    The mask (B, h, w) in [0, 1] is its opacity.
    """
    canvas += (colour - canvas) * mask[:, None]


def darken(canvas: Field, amount: Field) -> None:
    """Take an amount (B, h, w) in [0, 1] of the light from the canvas (B, 3, h, w) in place."""
    canvas *= (1 - amount)[:, None]


def _smooth_noise(seed: int, sigma: float | tuple[float, float]) -> Field:
    noise = np.random.Generator(np.random.Philox(key=[seed, 0])).standard_normal((TILE, TILE))
    smooth = gaussian_filter(noise, sigma, mode="wrap")
    return (smooth / smooth.std()).astype(np.float32)


@cache
def clouds() -> Field:
    """(TILE, TILE) soft blotches, mean 0 and standard deviation 1."""
    return _smooth_noise(1, 9.0)


@cache
def grain() -> Field:
    """(TILE, TILE) fine skin grain, mean 0 and standard deviation 1."""
    return _smooth_noise(2, 0.9)


@cache
def speckles() -> Field:
    """(TILE, TILE) freckles, drawn three to a pixel: 0 nearly everywhere, up to 1 on a spot."""
    return np.clip(_smooth_noise(3, 2.6) - np.float32(1.5), 0, 1)


@cache
def strands(curl: int) -> Field:
    """(TILE, TILE) locks of hair falling from a crown in the middle; curl 0 straight to 2 curly.

    Mean 0 and standard deviation 1.
    """
    y, x = np.mgrid[:TILE, :TILE] - TILE / 2
    angle = np.arctan2(x * 1.0, y + 60.0)
    radius = np.hypot(x, y + 60.0)
    wave = (0.0, 0.03, 0.055)[curl] * np.sin(radius / (5.0, 5.0, 2.2)[curl] + 5 * angle)
    noise = _smooth_noise(4 + curl, ((9.0, 0.8), (8.0, 1.0), (2.6, 1.3))[curl])
    locks = map_coordinates(noise, [radius, (angle + wave) * TILE / 2.2], order=1, mode="wrap")
    return (locks / locks.std()).astype(np.float32)


@cache
def static() -> Field:
    """(3, 2 TILE, 2 TILE) camera noise, white, standard deviation 1."""
    generator = np.random.Generator(np.random.Philox(key=[9, 0]))
    return generator.standard_normal((3, 2 * TILE, 2 * TILE), dtype=np.float32)


def crops(texture: Field, across: Field, down: Field, size: int) -> Field:
    """Pieces (B, size, size) of a texture, at places (B,) in [0, 1) across and down it."""
    room = texture.shape[-1] - size
    corners = (np.stack([np.ravel(down), np.ravel(across)], axis=1) * room).astype(int)
    return np.stack([texture[..., r : r + size, c : c + size] for r, c in corners])
