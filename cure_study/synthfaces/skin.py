"""The bare head: outline, relief and marks of its skin, light on it, ears, neck and collar."""

import numpy as np

from cure_study.synthfaces.canvas import (
    Field,
    Window,
    both_sides,
    crops,
    grain,
    hump,
    inside,
    paint,
    speckles,
    window,
)  # fmt: skip
from cure_study.synthfaces.face import SKULL_DEPTH, Face
from cure_study.synthfaces.people import MOLES, SIZE

Size = Field | float
NOSE = window(36, 90, 30, 84)
CHIN = window(84, 112, 26, 86)
FOREHEAD = window(8, 50, 18, 94)
MIDDLE = window(46, 106, 18, 94)
SOCKET = both_sides(34, 76, 4, 62)
CHEEK = both_sides(48, 96, 8, 60)
FOLD = both_sides(62, 106, 14, 58)
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
        jaw = np.clip(face.jaw + 0.10 * face.fullness_now, -0.45, 0.85)
        radius = self.x * self.x + square + dome - jaw * square * np.maximum(1 - square, 0)
        radius = radius - np.float32(0.5) * dome * np.maximum(1 - dome, 0)
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
    _relief(across, down, face)
    rounding = 1 - np.float32(0.28) * (square * square)
    shade = _lit(across, down, depth, face) * rounding * _albedo(face)
    colour = shaded(face, shade)
    colour[:, 1:] *= (1 - _redness(face))[:, None]
    paint(canvas, head.mask, colour)
    return shade


def _lit(across: Field, down: Field, depth: Field, face: Face) -> Field:
    """Light from one side, with a gloss, plus light from everywhere, on a surface with a normal."""
    length = np.sqrt(across * across + down * down + depth * depth)
    facing = (across * face.light_x + down * face.light_y + depth * face.light_z) / length
    facing = np.maximum(facing, 0)
    gloss = (((facing**2) ** 2) ** 2) ** 2
    strength = face.light_strength
    return facing * (0.72 * strength) + (1 - 0.62 * strength) + gloss * (0.10 * strength)


def ears(canvas: Field, face: Face, head: Head) -> None:
    """An ear on each side; the one turned to the camera lies over the head."""
    for side, where in EARS.items():
        x, y = face.place(side * (face.face_width + face.ear_out - 1), face.cheek + 1, -4.0)
        du, dv = side * (face.u[:, *where] - x), face.v[:, *where] - y
        near = np.clip(-side * face.sin * 4, 0, 1)
        du = (du + 0.10 * dv) * (1 / (face.ear_size * (0.48 + 0.25 * near)))
        dv = np.clip(dv * (1 / face.ear_size), -2, 2)
        radius = np.sqrt(du * du + dv * dv * (1 + 0.2 * dv))
        visible = np.maximum(1 - head.mask[:, *where], near)
        mask = inside((radius - 1) * (0.6 * face.ear_size)) * visible
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


def _relief(across: Field, down: Field, face: Face) -> None:
    """Bend the normal, given by its x and y (B, SIZE, SIZE), from nose to chin."""

    def bump(
        where: Window, offset: tuple[Field, Field], wide: Size, high: Size, strength: Size
    ) -> None:
        du, dv = offset[0] * (1 / wide), offset[1] * (1 / high)
        slope = np.maximum(1 - du * du - dv * dv, 0) * strength
        across[:, *where] += du * slope
        down[:, *where] += dv * slope * (wide / high)

    tip_x, tip_y = face.place(0.0, face.nose_y, face.nose_depth)
    root_x, root_y = face.place(0.0, face.eye_y + 1, 42.0)
    u, v = face.u[:, *NOSE], face.v[:, *NOSE]
    along = np.clip((v - root_y) * (1 / (tip_y - root_y)), 0, 1)
    bend = face.nose_bend * 4 * along * (1 - along)
    ridge = u - root_x - (tip_x - root_x) * along - bend, v - 0.5 * (tip_y + root_y)
    bump(NOSE, ridge, face.nose_bridge * 1.8, (tip_y - root_y) * 0.85, face.relief * 1.5)
    bump(NOSE, (u - tip_x, v - tip_y), face.nose_width * 0.95, 7.0, face.relief * 1.6)
    for side in (-1, 1):
        wing = face.local(NOSE, side * face.nose_width * 0.8, face.nose_y + 2.2, 46.0)
        bump(NOSE, wing, face.nose_width * 0.5, 4.4, face.relief * 0.9)
        where = CHEEK[side]
        cheek = face.local(where, side * 20.0, face.eye_y + 20, 34.0)
        bump(where, cheek, 15 + 2 * face.fullness_now, 14.0, 0.35 + 0.35 * face.smile)
        where = SOCKET[side]
        socket = face.local(where, side * face.eye_gap, face.eye_y, 36.0)
        bump(where, socket, face.eye_width * 1.5, 9.0, -0.55)
    chin = face.local(CHIN, 0.0, face.chin - 6.5, 40.0)
    bump(CHIN, chin, 10.0, 8.0, 0.6 + 0.3 * face.masculine)
    below_lips = face.local(CHIN, 0.0, face.mouth_y + 8.5, 42.0)
    bump(CHIN, below_lips, 11.0, 4.0, -0.4)
    du, dv = face.local(FOREHEAD, 0.0, face.eye_y - 21, 36.0)
    lines = np.sin(dv * 1.15 + du * du * 0.004) * hump(
        du * du * (1 / 26**2) + dv * dv * (1 / 13**2)
    )
    down[:, *FOREHEAD] += lines * (0.6 * face.wrinkles + 0.25 * np.maximum(face.brow_raise, 0))


def _albedo(face: Face) -> Field:
    """How much light the skin gives back, (B, SIZE, SIZE), 1 where it is plain."""
    texture = crops(grain(), face.texture_a, face.texture_b, SIZE)
    result = texture * (0.012 + 0.014 * face.wrinkles) + 1
    _freckles(result, face)
    for k in range(MOLES):
        x, y, size = (getattr(face, f"mole_{axis}{k}") - 0.5 for axis in ("x", "y", "size"))
        du, dv = face.local(MIDDLE, np.sign(x) * 9 + 34 * x, face.eye_y + 29 + 46 * y, 38.0)
        radius = 1.35 + 1.5 * size
        result[:, *MIDDLE] -= hump((du * du + dv * dv) / radius**2) * (0.65 * (size > 0.22))
    for side in (-1, 1):
        _round_the_eye(result, face, side)
        _fold(result, face, side)
    return result


def _freckles(result: Field, face: Face) -> None:
    du, dv = face.local(MIDDLE, 0.0, face.eye_y + 12, 44.0)
    start = (face.freckle_place * 97).astype(np.int32)
    rows, columns = (dv * 2.2).astype(np.int32) + start, (du * 2.2).astype(np.int32) + start
    spots = speckles()[rows & 255, columns & 255]
    fading = hump(du * du * (1 / 1100) + dv * dv * (1 / 500))
    result[:, *MIDDLE] -= spots * fading * face.freckling


def _round_the_eye(result: Field, face: Face, side: int) -> None:
    """The shadow of the socket, the bag below the eye, and crow's feet beside it."""
    where = SOCKET[side]
    du, dv = face.local(where, side * face.eye_gap, face.eye_y + 1, 38.0)
    bag = dv - 6.4 + 0.03 * du * du
    dark = hump(bag * bag * (1 / 3)) * hump(du * du * 0.01) * (0.05 + 0.20 * face.wrinkles)
    dark += 0.10 * hump(du * du * (1 / 15**2) + dv * dv * 0.01)
    crow = hump((side * du - 14) ** 2 * (1 / 36) + dv * dv * (1 / 49))
    crow *= np.maximum(np.sin(dv * 1.5 + 0.5), 0)
    result[:, *where] -= dark + crow * (0.17 * face.wrinkles * (1 + 0.5 * face.smile))


def _fold(result: Field, face: Face, side: int) -> None:
    """The fold from the wing of the nose round the corner of the mouth."""
    where = FOLD[side]
    du, dv = face.local(where, side * (face.nose_width + 1.5), face.nose_y + 1, 44.0)
    fall = np.clip(dv * (1 / 24), 0, 1)
    fold = side * du - fall * (1.9 - 0.9 * fall) * (face.mouth_width - face.nose_width + 2.5)
    dark = hump(fold * fold / (2.5 + 2 * fall)) * (fall * (1 - fall))
    result[:, *where] -= dark * (0.12 + 0.60 * face.wrinkles + 0.40 * np.maximum(face.smile, 0))


def _redness(face: Face) -> Field:
    """Blood under the skin of cheeks and nose, (B, SIZE, SIZE) in [0, 1)."""
    red = np.zeros_like(face.u)
    strength = 0.13 * np.clip(face.blush + 0.5 * face.makeup, 0, 1.3)
    for side in (-1, 1):
        du, dv = face.local(CHEEK[side], 20.0 * side, face.eye_y + 18, 34.0)
        red[:, *CHEEK[side]] += hump(du * du * (1 / 225) + dv * dv * (1 / 121)) * strength
    du, dv = face.local(NOSE, 0.0, face.nose_y, 50.0)
    red[:, *NOSE] += hump(du * du * (1 / 81) + dv * dv * (1 / 64)) * strength
    return red
