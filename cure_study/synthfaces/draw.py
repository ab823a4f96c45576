"""One chunk of faces, back to front, with the scene around them."""

import numpy as np

from cure_study.synthfaces import features, hair, skin
from cure_study.synthfaces.canvas import (
    Field,
    clouds,
    crops,
    hump,
    inside,
    paint,
    pixel_axes,
    some,
    window,
)  # fmt: skip
from cure_study.synthfaces.face import Face
from cure_study.synthfaces.people import SIZE, Columns
from cure_study.synthfaces.skin import Head

FRAMES = window(34, 76, 4, 108)


def draw(person: Columns, capture: Columns) -> Field:
    """Images (B, 3, SIZE, SIZE) float32, about [0, 1], before the camera degrades them."""
    face = Face(person, capture)
    head = skin.Head(face)
    canvas = _backdrop(face)
    locks = hair.Hair(face, head)
    hair.back(canvas, face, locks)
    skin.neck(canvas, face)
    shade = skin.skin(canvas, face, head)
    skin.ears(canvas, face, head)
    features.nostrils(canvas, face)
    hair.beard(canvas, face, head, locks)
    features.mouth(canvas, face, shade)
    features.eyes(canvas, face, shade)
    features.brows(canvas, face, locks.pattern)
    hair.front(canvas, face, head, locks)
    for paint_on, worn in ((_glasses, face.glasses_kind), (_cover, face.occlusion)):
        rows = np.flatnonzero(worn)
        if len(rows):
            part = canvas[rows]
            paint_on(part, some(face, rows), some(head, rows))
            canvas[rows] = part
    return _expose(canvas, face)


def _backdrop(face: Face) -> Field:
    """A canvas (B, 3, SIZE, SIZE): two colours that blend at any angle, and blurred shapes."""
    turn = face.backdrop_turn * np.float32(2 * np.pi)
    x, y = pixel_axes()
    blend = np.cos(turn) * x + np.sin(turn) * y + 0.5
    blend = blend + 0.30 * crops(clouds(), face.texture_a, face.texture_c, SIZE)
    return face.backdrop + np.clip(blend, 0, 1)[:, None] * (face.backdrop2 - face.backdrop)


def _glasses(canvas: Field, face: Face, head: Head) -> None:
    """Frames of several shapes, with clear or dark lenses."""
    dark = (face.glasses_kind > 1).astype(np.float32)
    part = canvas[:, :, *FRAMES]
    frame = face.frame_tint
    for side in (-1, 1):
        du, dv = face.local(FRAMES, side * (face.eye_gap + 0.3), face.eye_y + 1.5, 44.0)
        x, y = np.abs(du) * (1 / 13.2), np.abs(dv) * (1 / (8.6 + 3.4 * face.frame_shape))
        round_, square = np.sqrt(x * x + y * y), np.maximum(x, y)
        ring = (square + (0.35 + 0.6 * face.frame_shape) * (round_ - square) - 1) * 11
        lens = inside(ring)
        paint(part, lens * (0.05 + 0.80 * dark), frame * 0.25 + 0.03)
        glare = hump(((du + 0.8 * dv - 5) / 4) ** 2) * lens
        paint(part, glare * 0.16, np.ones_like(frame))
        paint(part, inside(np.abs(ring) - (0.5 + 0.6 * face.frame_colour), 1.2), frame)
        arm = np.maximum(np.abs(dv + 3) - 0.9, np.abs(side * du - 17.0) - 4.5)
        paint(part, inside(arm) * (side * face.sin * -4 + 1 > 0), frame)
    du, dv = face.local(FRAMES, 0.0, face.eye_y - 0.5, 48.0)
    bridge = np.maximum(np.abs(dv + 0.06 * du * du * 0.4) - 0.9, np.abs(du) - 5.0)
    paint(part, inside(bridge), frame)


def _cover(canvas: Field, face: Face, head: Head) -> None:
    """A cloth over part of the face: a scarf from below, a hat from above, a curtain at a side."""
    angle = np.deg2rad(face.occlusion_angle)
    across = np.cos(angle) * face.u + np.sin(angle) * (face.v + 12)
    along = -np.sin(angle) * face.u + np.cos(angle) * (face.v + 12)
    reach = 44 * (1 - 2 * face.occlusion)
    distance = reach - across - 0.006 * along * along
    fold = crops(clouds(), face.texture_c, face.texture_b, SIZE)
    shade = 0.85 + 0.10 * fold - 0.25 * hump((distance + 3) ** 2 / 30)
    paint(canvas, inside(distance - 3, 6.0) * 0.3 * head.mask, face.skin * 0.3)
    paint(canvas, inside(distance, 1.5), face.cover * shade[:, None])


def _expose(canvas: Field, face: Face) -> Field:
    """Light that falls off across the image, its colour, and the camera's exposure."""
    x, y = pixel_axes()
    slope = 1 + 2 * np.abs(face.light_gradient) * (np.sign(face.light_x) * x - 0.3 * y)
    canvas = canvas * ((slope * face.exposure)[:, None] * face.warmth)
    grey = canvas.mean(axis=1, keepdims=True)
    canvas = (canvas - grey) * face.saturation[:, None] + grey
    return (canvas - np.float32(0.5)) * face.contrast[:, None] + np.float32(0.5)
