"""The relief and the marks of a face: what makes it more than an egg, and what age adds."""

import numpy as np

from cure_study.synthfaces.canvas import (
    Field,
    Window,
    both_sides,
    crops,
    grain,
    hump,
    speckles,
    window,
)
from cure_study.synthfaces.face import Face
from cure_study.synthfaces.people import MOLES, SIZE

NOSE = window(36, 90, 30, 84)
Offsets = tuple[Field, Field]
Size = Field | float

CHIN = window(84, 112, 26, 86)
FOREHEAD = window(8, 50, 18, 94)
MIDDLE = window(46, 106, 18, 94)
SOCKET = both_sides(34, 76, 4, 62)
CHEEK = both_sides(48, 96, 8, 60)
FOLD = both_sides(62, 106, 14, 58)


def relief(across: Field, down: Field, face: Face) -> None:
    """Bend the normal, given by its x and y (B, SIZE, SIZE), from nose to chin."""

    def bump(where: Window, offset: Offsets, wide: Size, high: Size, strength: Size) -> None:
        du, dv = offset[0] * (1 / wide), offset[1] * (1 / high)
        slope = np.maximum(1 - du * du - dv * dv, 0)
        slope *= strength
        du *= slope
        dv *= slope
        dv *= wide / high
        across[:, *where] += du
        down[:, *where] += dv

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
    lines = np.sin(dv * 1.15 + du * du * 0.004)
    lines *= hump(du * du * (1 / 26**2) + dv * dv * (1 / 13**2))
    down[:, *FOREHEAD] += lines * (0.6 * face.wrinkles + 0.25 * np.maximum(face.brow_raise, 0))


def albedo(face: Face) -> Field:
    """How much light the skin gives back, (B, SIZE, SIZE), 1 where it is plain."""
    result = crops(grain(), face.texture_a, face.texture_b, SIZE)
    result *= 0.012 + 0.014 * face.wrinkles
    result += 1
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
    spots *= hump(du * du * (1 / 1100) + dv * dv * (1 / 500))
    result[:, *MIDDLE] -= spots * face.freckling


def _round_the_eye(result: Field, face: Face, side: int) -> None:
    """The shadow of the socket, the bag below the eye, and crow's feet beside it."""
    where = SOCKET[side]
    du, dv = face.local(where, side * face.eye_gap, face.eye_y + 1, 38.0)
    bag = dv - 6.4 + 0.03 * du * du
    dark = hump(bag * bag * (1 / 3)) * hump(du * du * 0.01)
    dark *= 0.05 + 0.20 * face.wrinkles
    dark += 0.10 * hump(du * du * (1 / 15**2) + dv * dv * 0.01)
    crow = hump((side * du - 14) ** 2 * (1 / 36) + dv * dv * (1 / 49))
    crow *= np.maximum(np.sin(dv * 1.5 + 0.5), 0)
    dark += crow * (0.17 * face.wrinkles * (1 + 0.5 * face.smile))
    result[:, *where] -= dark


def _fold(result: Field, face: Face, side: int) -> None:
    """The fold from the wing of the nose round the corner of the mouth."""
    where = FOLD[side]
    du, dv = face.local(where, side * (face.nose_width + 1.5), face.nose_y + 1, 44.0)
    fall = np.clip(dv * (1 / 24), 0, 1)
    fold = side * du - fall * (1.9 - 0.9 * fall) * (face.mouth_width - face.nose_width + 2.5)
    dark = hump(fold * fold / (2.5 + 2 * fall))
    dark *= fall * (1 - fall)
    result[:, *where] -= dark * (0.12 + 0.60 * face.wrinkles + 0.40 * np.maximum(face.smile, 0))


def redness(face: Face) -> Field:
    """Blood under the skin of cheeks and nose, (B, SIZE, SIZE) in [0, 1)."""
    red = np.zeros_like(face.u)
    strength = 0.13 * np.clip(face.blush + 0.5 * face.makeup, 0, 1.3)
    for side in (-1, 1):
        du, dv = face.local(CHEEK[side], 20.0 * side, face.eye_y + 18, 34.0)
        red[:, *CHEEK[side]] += hump(du * du * (1 / 225) + dv * dv * (1 / 121)) * strength
    du, dv = face.local(NOSE, 0.0, face.nose_y, 50.0)
    red[:, *NOSE] += hump(du * du * (1 / 81) + dv * dv * (1 / 64)) * strength
    return red
