"""One chunk of faces, back to front."""

import numpy as np

from cure_study.synthfaces import features, hair, skin, things
from cure_study.synthfaces.canvas import Field, some
from cure_study.synthfaces.face import Face
from cure_study.synthfaces.people import SIZE, Columns


def draw(person: Columns, shot: Columns) -> Field:
    """Pictures (B, 3, SIZE, SIZE) float32, about [0, 1], before the camera spoils them."""
    face = Face(person, shot)
    head = skin.Head(face)
    canvas = things.backdrop(face)
    mane = hair.Hair(face, head)
    hair.back(canvas, face, mane)
    skin.neck(canvas, face)
    shade = skin.skin(canvas, face, head)
    skin.ears(canvas, face, head)
    features.nostrils(canvas, face)
    hair.beard(canvas, face, head, mane)
    features.mouth(canvas, face, shade)
    features.eyes(canvas, face, shade)
    features.brows(canvas, face, mane.pattern)
    hair.front(canvas, face, head, mane)
    for thing, worn in ((things.glasses, face.glasses_kind), (things.cover, face.occlusion)):
        rows = np.flatnonzero(worn)
        if len(rows):
            part = canvas[rows]
            thing(part, some(face, rows), some(head, rows))
            canvas[rows] = part
    _expose(canvas, face)
    return canvas


def _expose(canvas: Field, face: Face) -> None:
    """Light that falls off across the picture, its colour, and the camera's exposure."""
    x = (np.arange(SIZE, dtype=np.float32) / SIZE - 0.5)[None, None, :]
    y = (np.arange(SIZE, dtype=np.float32) / SIZE - 0.5)[None, :, None]
    slope = 1 + 2 * np.abs(face.light_gradient) * (np.sign(face.light_x) * x - 0.3 * y)
    canvas *= (slope * face.exposure)[:, None] * face.warmth
    grey = canvas.mean(axis=1, keepdims=True)
    canvas -= grey
    canvas *= face.saturation[:, None]
    canvas += grey
    canvas -= np.float32(0.5)
    canvas *= face.contrast[:, None]
    canvas += np.float32(0.5)
