"""Eyes, brows, nostrils and mouth, drawn in windows of the aligned picture."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from cure_core.faces.synthfaces.canvas import Field, both_sides, hump, inside, paint, window
from cure_core.faces.synthfaces.view import EYE_DEPTH, MOUTH_DEPTH, View

EYES = both_sides(38, 68, 16, 58)
BROWS = both_sides(26, 58, 10, 60)
NOSTRILS = window(62, 88, 36, 76)
MOUTH = window(74, 110, 24, 88)


def colour(*channels: float) -> Field:
    """One colour (1, 3, 1, 1), channels in [0, 1]."""
    return np.array(channels, np.float32)[None, :, None, None]


def eyes(canvas: Field, face: SimpleNamespace, view: View, shade: Field) -> None:
    """White, iris, pupil, glint, lids and lashes of both eyes."""
    for side, where in EYES.items():
        du, dv = view.local(where, side * face.eye_gap, face.eye_y, EYE_DEPTH)
        dv = dv + side * du * face.eye_tilt
        x = du / face.eye_width
        arc = np.maximum(1 - x * x, 0)
        bulge = arc * (1 - side * 0.18 * x)
        height = face.eye_width * face.eye_height
        upper = dv + bulge * height * (0.62 * face.eye_open * 1.55 - 0.30)
        lower = dv - arc * height * (0.46 - 0.10 * np.maximum(face.smile, 0))
        open_ = np.minimum(upper, -lower)
        mask = inside(-open_, 1.0) * (arc > 0)
        light = shade[:, *where][:, None]
        part = canvas[:, :, *where]
        # lid: the fold above the eye, then the lash line
        fold = upper + (1.6 + 1.8 * face.lid)
        lid = inside(-fold, 1.5) * inside(upper, 1.5) * np.minimum(arc * 3, 1)
        paint(part, lid * 0.30, face.skin * face.lid_tint * light * 0.8)
        paint(part, hump(fold * fold * 1.1) * np.minimum(arc * 2, 1) * 0.50, face.skin * 0.45)
        white = colour(0.90, 0.88, 0.86) * (0.62 + 0.36 * light)
        white = white * (1 - 0.35 * hump((upper / 3.2) ** 2))[:, None]
        paint(part, mask, white)
        iu, iv = du - face.gaze_x, dv - face.gaze_y + 0.5
        ray = np.sqrt(iu * iu + iv * iv)
        rim = (0.55 + 0.55 * hump((ray / 3.9) ** 2))[:, None]
        paint(part, mask * inside(ray - 3.7), face.iris * (rim * (0.75 + 0.35 * light)))
        paint(part, mask * inside(ray - 1.6), colour(0.04, 0.03, 0.03))
        gu, gv = iu - 1.3 * face.light_x, iv + 1.3
        paint(part, mask * hump((gu * gu + gv * gv) / 1.7) * 0.9, colour(1, 1, 1))
        lashes = hump(upper * upper / (1.3 + 1.2 * face.makeup)) * np.minimum(arc * 4, 1)
        paint(part, lashes * (0.80 + 0.15 * face.makeup), face.lash)
        under = hump((lower - 0.5) ** 2 / 1.4) * np.minimum(arc * 2, 1)
        paint(part, under * (0.35 + 0.3 * face.makeup), face.skin * 0.5)
        inner = hump(((side * x + 1.0) / 0.22) ** 2 + (dv / 1.8) ** 2)
        paint(part, inner * 0.55, face.skin * colour(0.92, 0.62, 0.58))


def brows(canvas: Field, face: SimpleNamespace, view: View, hairs: Field) -> None:
    """A brow over each eye, thinning outwards."""
    for side, where in BROWS.items():
        height = face.brow_height + face.brow_raise
        du, dv = view.local(where, side * (face.eye_gap + 0.6), face.eye_y - height, 41.0)
        x = side * du / face.brow_length
        line = dv + face.brow_arch * (1 - (x - 0.25) ** 2 * 1.3) - side * du * face.brow_tilt
        taper = np.clip((1.05 - np.abs(x)) * 4, 0.01, 1)
        thickness = face.brow_thickness * (1.05 - 0.45 * x) * taper
        mask = inside(np.abs(line) - thickness, 1.6) * (np.abs(x) < 1.05)
        mask *= np.clip(0.78 + 0.16 * hairs[:, *where], 0, 1)
        paint(canvas[:, :, *where], mask * face.brow_density, face.brow)


def nostrils(canvas: Field, face: SimpleNamespace, view: View) -> None:
    """Nostrils and the soft shadow under the tip of the nose."""
    part = canvas[:, :, *NOSTRILS]
    du, dv = view.local(NOSTRILS, np.zeros_like(face.chin), face.nose_y + 5.6, 50.0)
    shadow = hump((du / (face.nose_width * 1.15)) ** 2 + (dv / 3.6) ** 2)
    paint(part, shadow * 0.38, face.skin * 0.5)
    for side in (-1, 1):
        du, dv = view.local(NOSTRILS, side * face.nose_width * 0.46, face.nose_y + 4.6, 50.0)
        dv = dv + side * du * 0.25
        hole = hump((du / (face.nose_width * 0.34)) ** 2 + (dv / 1.7) ** 2)
        paint(part, np.minimum(hole * 1.5, 1) * 0.8, face.skin * colour(0.26, 0.20, 0.19))
        du, dv = view.local(NOSTRILS, side * face.nose_width * 0.98, face.nose_y + 2.2, 46.0)
        wing = hump((side * du) ** 2 / 1.9 + ((dv - 0.3) / 4.0) ** 2)
        paint(part, wing * 0.42, face.skin * 0.45)


def mouth(canvas: Field, face: SimpleNamespace, view: View, shade: Field) -> None:
    """Two lips, a darker upper one, and teeth where they part."""
    du, dv = view.local(MOUTH, np.zeros_like(face.chin), face.mouth_y, MOUTH_DEPTH)
    x = du / face.mouth_spread
    arc = np.maximum(1 - x * x, 0)
    line = dv + (face.smile + 0.12) * 3.4 * (x * x - 0.4)
    gap = face.mouth_open * 4.2
    bow = 1 - face.lip_bow * hump((x / 0.32) ** 2)
    top = line + arc * (0.5 + 0.5 * arc) * (face.lip_upper * bow + 0.5 * gap)
    bottom = line - np.sqrt(arc) * arc * face.lip_lower - arc * gap
    part, light = canvas[:, :, *MOUTH], shade[:, *MOUTH][:, None]
    lips = inside(-top, 1.3) * inside(bottom, 1.3) * (arc > 0)
    paint(part, hump((bottom / 3.0) ** 2) * arc * 0.22, face.skin * 0.55)
    upper = inside(line, 1.2)[:, None]
    paint(part, lips * 0.88, face.lips * light * (1 - 0.22 * upper))
    sheen = hump((x / 0.5) ** 2 + ((line - gap * arc - face.lip_lower * 0.45) / 1.5) ** 2)
    paint(part, sheen * (0.18 + 0.15 * face.makeup), face.lips * 1.35 + 0.08)
    slit = np.maximum(-(line + 0.3 * gap * arc), line - gap * arc)
    inner = inside(slit - 0.35, 1.2) * np.minimum(arc * 4, 1)
    paint(part, inner * 0.9, colour(0.23, 0.09, 0.09) * (0.5 + 0.5 * light))
    teeth = inside(slit + 0.55, 1.2) * inside(line - 0.62 * gap * arc, 1.4)
    paint(part, teeth * np.minimum(gap, 1) * (np.abs(x) < 0.86), colour(0.92, 0.90, 0.85) * light)
    corner = hump((np.abs(x) - 1.0) ** 2 * 40 + (line / 2.2) ** 2)
    paint(part, corner * 0.4, face.skin * 0.45)
