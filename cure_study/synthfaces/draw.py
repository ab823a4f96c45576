"""One chunk of faces, back to front."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from cure_study.synthfaces import features, hair, skin, things
from cure_study.synthfaces.canvas import Field, some
from cure_study.synthfaces.people import SIZE, Columns
from cure_study.synthfaces.view import View


def draw(person: Columns, shot: Columns) -> Field:
    """Pictures (B, 3, SIZE, SIZE) float32, about [0, 1], before the camera spoils them."""
    face = _sitter(person, shot)
    view = View(face)
    head = skin.Head(face, view)
    canvas = things.backdrop(face)
    mane = hair.Hair(face, view, head)
    hair.back(canvas, face, mane)
    skin.neck(canvas, face, view)
    shade = skin.skin(canvas, face, view, head)
    skin.ears(canvas, face, view, head)
    features.nostrils(canvas, face, view)
    hair.beard(canvas, face, view, head, mane)
    features.mouth(canvas, face, view, shade)
    features.eyes(canvas, face, view, shade)
    features.brows(canvas, face, view, mane.pattern)
    hair.front(canvas, face, view, head, mane)
    for thing, worn in ((things.glasses, face.glasses_kind), (things.cover, face.occlusion)):
        rows = np.flatnonzero(worn)
        if len(rows):
            part = canvas[rows]
            thing(part, some(face, rows), some(view, rows), some(head, rows))
            canvas[rows] = part
    _expose(canvas, face)
    return canvas


def _expose(canvas: Field, face: SimpleNamespace) -> None:
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


def _sitter(person: Columns, shot: Columns) -> SimpleNamespace:
    """All numbers of a chunk, (B, 1, 1) or for colours (B, 3, 1, 1), and what follows from them."""
    face = SimpleNamespace(
        **{
            name: column.astype(np.float32)[..., None, None]
            for name, column in (person | shot).items()
        }
    )
    azimuth, elevation = np.deg2rad(face.light_azimuth), np.deg2rad(face.light_elevation)
    face.light_x = np.sin(azimuth) * np.cos(elevation)
    face.light_y = -np.sin(elevation)
    face.light_z = np.cos(azimuth) * np.cos(elevation)
    metering = (0.6 / face.skin.mean(axis=1)) ** 0.4  # the camera exposes for the face, in part
    face.exposure = face.exposure * metering
    warm = face.light_warmth[:, None]
    face.warmth = np.concatenate([1 + warm, 1 + 0 * warm, 1 - warm], axis=1)
    years = np.clip((face.age - 22) / 55, 0, 1.15)
    face.wrinkles = np.clip(face.wrinkling * years**1.5, 0, 1.2)
    face.fullness_now = face.fullness + 1.2 * years * (1 - years)
    face.freckling = np.clip(face.freckles, 0, 1) * 0.45 + 0.12 * face.wrinkles
    face.relief = 0.85 + 0.2 * years
    face.eye_open = face.eye_open * (1 - 0.14 * years)
    face.mouth_spread = face.mouth_width * (1 + 0.13 * face.smile - 0.06 * face.mouth_open)
    face.brow_height = face.brow_height - 0.9 * years
    face.lip_upper = np.maximum(face.lip_upper * (1 - 0.3 * years), 1.0)
    face.lip_lower = np.maximum(face.lip_lower * (1 - 0.2 * years), 1.6)
    face.nose_width = face.nose_width * (1 + 0.06 * years)
    face.brow_thickness = np.maximum(face.brow_thickness, 0.8)
    face.curl_kind = np.floor(np.clip(face.curl, 0, 0.99) * 3)
    face.hairy = np.clip(1.6 - 0.9 * face.recede, 0.15, 1)
    grey = face.grey[:, None]
    natural = face.hair_colour
    face.brow = 0.75 * (natural * (1 - 0.3 * grey))
    face.brow_density = 0.88 - 0.2 * years
    face.lash = 0.25 * natural + 0.02
    face.makeup = face.makeup * (face.beard_shown == 0)
    makeup, hue = face.makeup[:, None], face.makeup_hue[:, None]
    tint = np.concatenate([1 + 0 * hue, 0.55 - 0.25 * hue, 0.55 + 0.10 * hue], axis=1)
    red = np.clip(face.lip_red[:, None] + 0.6 * makeup, 0, 1)
    pale = face.skin * np.array([0.93, 0.70, 0.68], np.float32)[:, None, None]
    face.lips = pale + red * (face.skin * tint * np.float32(0.85) - pale)
    face.lid_tint = 1 + makeup * (tint - 1) * 0.7
    face.beard_density = face.beard_shown**0.8 * 0.95
    face.beard_colour = natural * 0.9
    face.frame_tint = 0.05 + 0.5 * face.cloth * (face.frame_colour[:, None] > 0.6)
    return face
