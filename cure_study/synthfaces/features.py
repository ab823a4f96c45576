"""Eyes, brows, nostrils and mouth, drawn in windows of the aligned image."""

import numpy as np

from cure_study.synthfaces.canvas import Field, both_sides, darken, hump, inside, paint, window
from cure_study.synthfaces.face import EYE_DEPTH, MOUTH_DEPTH, Face

EYES = both_sides(38, 66, 16, 58)
BROWS = both_sides(26, 58, 10, 60)
NOSTRILS = window(62, 88, 36, 76)
MOUTH = window(76, 110, 26, 86)


def _colour(*channels: float) -> Field:
    """One colour (1, 3, 1, 1), channels in [0, 1]."""
    return np.array(channels, np.float32)[None, :, None, None]


WHITE, PUPIL, GLINT = _colour(0.90, 0.88, 0.86), _colour(0.04, 0.03, 0.03), _colour(1, 1, 1)
TEETH, THROAT = _colour(0.92, 0.90, 0.85), _colour(0.23, 0.09, 0.09)
FLESH = _colour(0.92, 0.62, 0.58)


def eyes(canvas: Field, face: Face, shade: Field) -> None:
    """White, iris, pupil, glint, lids and lashes of both eyes."""
    for side, where in EYES.items():
        part, light = canvas[:, :, *where], shade[:, *where][:, None]
        du, dv = face.local(where, side * face.eye_gap, face.eye_y, EYE_DEPTH)
        dv += du * (side * face.eye_tilt)
        x = du * (1 / face.eye_width)
        arc = np.maximum(1 - x * x, 0)
        height = arc * (face.eye_width * face.eye_height)
        upper = dv + height * (1 - side * 0.18 * x) * (0.96 * face.eye_open - 0.30)
        lower = dv - height * (0.46 - 0.10 * np.maximum(face.smile, 0))
        edge = np.minimum(arc * 3, 1)
        fold = upper + 1.6 + 1.8 * face.lid
        lid = inside(-fold, 1.5) * inside(upper, 1.5) * edge
        paint(part, lid * 0.30, (face.skin * face.lid_tint * 0.8) * light)
        darken(part, hump(fold * fold * 1.1) * edge * 0.28)
        mask = inside(np.maximum(-upper, lower), 1.0) * (arc > 0)
        white = (0.62 + 0.36 * light) * (1 - 0.35 * hump(upper * upper * 0.1))[:, None]
        paint(part, mask, WHITE * white)
        _iris(part, face, du - face.gaze_x, dv - face.gaze_y + 0.5, mask, light)
        lashes = hump(upper * upper / (1.3 + 1.2 * face.makeup)) * edge
        paint(part, lashes * (0.80 + 0.15 * face.makeup), face.lash)
        rim = hump((lower - 0.5) ** 2 * 0.7) * edge
        darken(part, rim * (0.2 + 0.2 * face.makeup))
        corner = hump(((side * x + 1.0) * 4.5) ** 2 + dv * dv * 0.3)
        paint(part, corner * 0.55, face.skin * FLESH)


def _iris(part: Field, face: Face, du: Field, dv: Field, mask: Field, light: Field) -> None:
    ray = du * du + dv * dv
    rim = (0.55 + 0.55 * hump(ray * (1 / 15)))[:, None]
    ray = np.sqrt(ray)
    paint(part, mask * inside(ray - 3.7), face.iris * (rim * (0.75 + 0.35 * light)))
    paint(part, mask * inside(ray - 1.6), PUPIL)
    du, dv = du - 1.3 * face.light_x, dv + 1.3
    paint(part, mask * hump((du * du + dv * dv) * 0.6) * 0.9, GLINT)


def brows(canvas: Field, face: Face, hairs: Field) -> None:
    """A brow over each eye, thinning outwards."""
    for side, where in BROWS.items():
        height = face.brow_height + face.brow_raise
        du, dv = face.local(where, side * (face.eye_gap + 0.6), face.eye_y - height, 41.0)
        x = side * du / face.brow_length
        line = dv + face.brow_arch * (1 - (x - 0.25) ** 2 * 1.3) - side * du * face.brow_tilt
        taper = np.clip((1.05 - np.abs(x)) * 4, 0.01, 1)
        thickness = face.brow_thickness * (1.05 - 0.45 * x) * taper
        mask = inside(np.abs(line) - thickness, 1.6) * (np.abs(x) < 1.05)
        mask *= np.clip(0.78 + 0.16 * hairs[:, *where], 0, 1)
        paint(canvas[:, :, *where], mask * face.brow_density, face.brow)


def nostrils(canvas: Field, face: Face) -> None:
    """Nostrils, wings, and the soft shadow under the tip of the nose."""
    du, dv = face.local(NOSTRILS, 0.0, face.nose_y + 5.6, 50.0)
    dark = 0.19 * hump((du / (face.nose_width * 1.15)) ** 2 + dv * dv * (1 / 13))
    for side in (-1, 1):
        du, dv = face.local(NOSTRILS, side * face.nose_width * 0.46, face.nose_y + 4.6, 50.0)
        dv += du * (0.25 * side)
        hole = hump((du / (face.nose_width * 0.34)) ** 2 + dv * dv * 0.35)
        dark += 0.60 * np.minimum(hole * 1.5, 1)
        du, dv = face.local(NOSTRILS, side * face.nose_width * 0.98, face.nose_y + 2.2, 46.0)
        dark += 0.23 * hump(du * du * 0.53 + (dv - 0.3) ** 2 * (1 / 16))
    darken(canvas[:, :, *NOSTRILS], np.minimum(dark, 0.8))


def mouth(canvas: Field, face: Face, shade: Field) -> None:
    """Two lips, a darker upper one, and teeth where they part."""
    part, light = canvas[:, :, *MOUTH], shade[:, *MOUTH][:, None]
    du, dv = face.local(MOUTH, 0.0, face.mouth_y, MOUTH_DEPTH)
    x = du / face.mouth_extent
    even = x * x
    arc = np.maximum(1 - even, 0)
    edge = np.minimum(arc * 4, 1)
    line = dv + (face.smile + 0.12) * 3.4 * (even - 0.4)
    gap = arc * (4.2 * face.mouth_open)
    bow = 1 - face.lip_bow * hump(even * 10)
    upper = arc * (0.5 + 0.5 * arc) * (face.lip_upper * bow + 2.1 * face.mouth_open)
    lower = np.sqrt(arc) * arc * face.lip_lower + gap
    lips = inside(np.maximum(-line - upper, line - lower), 1.3) * (arc > 0)
    darken(part, hump((line - lower) ** 2 * (1 / 9)) * arc * 0.10)
    paint(part, lips * 0.88, face.lips * (light * (1 - 0.22 * inside(line, 1.2)[:, None])))
    sheen = hump(even * 4 + ((line - gap - face.lip_lower * 0.45) / 1.5) ** 2)
    paint(part, sheen * (0.18 + 0.15 * face.makeup), face.lips * 1.35 + 0.08)
    slit = np.maximum(-line - 0.3 * gap, line - gap)
    paint(part, inside(slit - 0.35, 1.2) * edge * 0.9, THROAT * (0.5 + 0.5 * light))
    teeth = inside(slit + 0.55, 1.2) * inside(line - 0.62 * gap, 1.4) * (np.abs(x) < 0.86)
    paint(part, teeth * np.minimum(4.2 * face.mouth_open, 1), TEETH * light)
    darken(part, hump((np.abs(x) - 1.0) ** 2 * 40 + line * line * 0.2) * 0.2)
