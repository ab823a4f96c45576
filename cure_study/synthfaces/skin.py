"""The bare head: its outline, its skin under the light, ears, neck and collar."""

import numpy as np

from cure_study.synthfaces.canvas import Field, both_sides, hump, inside, paint, window
from cure_study.synthfaces.face import SKULL_DEPTH, Face
from cure_study.synthfaces.surface import albedo, redness, relief

EARS = both_sides(30, 92, 0, 44)
NECK = window(66, 112, 0, 112)
TINT = np.array([0.80, 1.0, 1.07], np.float32)[:, None, None]  # shadows on skin are warm


class Head:
    """Outline and surface of each head.

    `x` and `y` (B, SIZE, SIZE) are places on it, in half-widths and half-heights; `radius` is 1 on
    the outline; `mask` is 1 within.
    """

    def __init__(self, face: Face) -> None:
        width = np.hypot(face.face_width * face.cos, SKULL_DEPTH * face.sin)
        chin_x, chin_y = face.place(0.0, face.chin, 34.0)
        cheek_y = face.place(0.0, face.cheek, 20.0)[1]
        top_y = face.place(0.0, -80.0, 0.0)[1]
        down = face.v - cheek_y
        lower = np.maximum(down, 0) * (1 / (chin_y - cheek_y))
        upper = np.minimum(down, 0) * (1 / (cheek_y - top_y))
        square, dome = lower * lower, upper * upper
        self.x = (face.u - chin_x * square) * (1 / width)
        self.y = lower + upper
        radius = self.x * self.x + square + dome
        jaw = np.clip(face.jaw + 0.10 * face.fullness_now, -0.45, 0.85)
        radius -= jaw * square * np.maximum(1 - square, 0)
        radius -= np.float32(0.5) * dome * np.maximum(1 - dome, 0)
        self.radius = np.sqrt(np.maximum(radius, 0))
        self.mask = inside((self.radius - 1) * np.float32(36))


def shaded(face: Face, shade: Field) -> Field:
    """Skin colour (B, 3, h, w) at a given shade (B, h, w), where 1 is plain and 0 is dark."""
    return face.skin * (1 - TINT) + (face.skin * TINT) * shade[:, None]


def skin(canvas: Field, face: Face, head: Head) -> Field:
    """Paint the head and return its shade (B, SIZE, SIZE): how lit each point is, about 1."""
    across, down = head.x * np.float32(0.80), head.y * np.float32(0.55)
    square = head.radius * head.radius
    depth = np.sqrt(np.maximum(1 - square * np.float32(0.86), 0.05))
    relief(across, down, face)
    shade = lit(across, down, depth, face)
    square *= square
    shade *= 1 - np.float32(0.28) * square
    shade *= albedo(face)
    colour = shaded(face, shade)
    colour[:, 1:] *= (1 - redness(face))[:, None]
    paint(canvas, head.mask, colour)
    return shade


def lit(across: Field, down: Field, depth: Field, face: Face) -> Field:
    """Light from one side, with a gloss, plus light from everywhere, on a surface with a normal."""
    length = across * across
    length += down * down
    length += depth * depth
    facing = across * face.light_x
    facing += down * face.light_y
    facing += depth * face.light_z
    facing /= np.sqrt(length)
    np.maximum(facing, 0, out=facing)
    gloss = facing * facing
    for _ in range(3):
        gloss *= gloss
    gloss *= 0.10 * face.light_strength
    facing *= 0.72 * face.light_strength
    facing += 1 - 0.62 * face.light_strength
    facing += gloss
    return facing


def ears(canvas: Field, face: Face, head: Head) -> None:
    """An ear on each side; the one turned to the camera lies over the head."""
    for side, where in EARS.items():
        x, y = face.place(side * (face.face_width + face.ear_out - 1), face.cheek + 1, -4.0)
        du, dv = side * (face.u[:, *where] - x), face.v[:, *where] - y
        near = np.clip(-side * face.sin * 4, 0, 1)
        du = (du + 0.10 * dv) * (1 / (face.ear_size * (0.48 + 0.25 * near)))
        dv = np.clip(dv * (1 / face.ear_size), -2, 2)
        radius = np.sqrt(du * du + dv * dv * (1 + 0.2 * dv))
        mask = inside((radius - 1) * (0.6 * face.ear_size))
        mask *= np.maximum(1 - head.mask[:, *where], near)
        hollow = hump(((du - 0.05) / 0.62) ** 2 + ((dv + 0.1) / 0.66) ** 2)
        shade = 0.86 - 0.40 * hollow + du * (0.12 * side * face.light_x)
        paint(canvas[:, :, *where], mask, shaded(face, shade))


def neck(canvas: Field, face: Face) -> None:
    """A neck in the shadow of the chin, and what is worn below it."""
    part = canvas[:, :, *NECK]
    x = face.place(0.0, face.chin, 0.0)[0]
    u, v = face.u[:, *NECK] - x, face.v[:, *NECK] - face.chin
    across = u * (1 / (face.face_width * (0.66 + 0.12 * face.masculine)))
    shade = 0.62 - 0.18 * across * across + 0.14 * across * face.light_x
    paint(part, inside((np.abs(across) - 1) * 28), shaded(face, shade))
    collar = v - 13 + 0.34 * np.abs(u)
    shade = 0.75 + across * (0.25 * face.light_x) - 0.4 * hump((collar - 1) ** 2 * 0.25)
    paint(part, inside(-collar, 1.5), face.cloth * shade[:, None])
