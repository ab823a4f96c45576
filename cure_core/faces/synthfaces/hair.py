"""Hair on the head and on the chin."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from cure_core.faces.synthfaces.canvas import TILE, Field, hump, inside, paint, strands, window
from cure_core.faces.synthfaces.people import SIZE
from cure_core.faces.synthfaces.skin import Head
from cure_core.faces.synthfaces.view import View

JAW = window(60, 112, 10, 102)


def locks(face: SimpleNamespace) -> Field:
    """Each head's pattern of locks (B, SIZE, SIZE), mean 0: straight, wavy or curly."""
    pieces = []
    corner = (TILE - SIZE) // 2
    for k, kind in enumerate(np.ravel(face.curl_kind).astype(int)):
        left = corner + int(24 * face.texture_c[k, 0, 0]) - 12
        top = corner + int(20 * face.texture_a[k, 0, 0]) - 10
        pieces.append(strands(kind)[top : top + SIZE, left : left + SIZE])
    return np.stack(pieces)


def mane(head: Head, view: View, face: SimpleNamespace, pattern: Field) -> Field:
    """How far inside the outline of the hair each pixel is, in pixels (B, SIZE, SIZE)."""
    grown = 1 + face.hair_volume_now * (1 / 36)
    wide = head.x * (1 / grown)
    low = np.maximum(head.y, 0) * (0.55 - 0.5 * face.hair_length_now)
    high = np.minimum(head.y, 0) * (1 / grown)
    dome = high * high
    radius = wide * wide + low * low + dome
    radius -= np.float32(0.8) * dome * np.maximum(1 - dome, 0)
    radius = np.sqrt(np.maximum(radius, 0))
    end = -14 + 95 * face.hair_length_now**1.6
    distance = np.maximum((radius - 1) * 36, (view.v - end) * 0.6)
    return distance + pattern * (0.35 + 0.35 * face.curl_kind)


def tone(face: SimpleNamespace, pattern: Field, head: Head) -> Field:
    """The colour of hair (B, 3, SIZE, SIZE): locks, gloss and light."""
    shade = 0.84 + 0.13 * pattern + 0.22 * head.x * face.light_x * face.light_strength
    ring = (head.radius - 0.93) * np.float32(6)
    shade += hump(ring * ring) * (0.20 + 0.06 * pattern) * (head.y < 0)
    np.maximum(shade, 0.3, out=shade)
    return face.hair_colour * shade[:, None]


def back(canvas: Field, face: SimpleNamespace, outline: Field, colour: Field) -> None:
    """The hair behind the head."""
    paint(canvas, inside(outline, 1.8) * face.hairy, colour * np.float32(0.72))


def front(
    canvas: Field,
    face: SimpleNamespace,
    view: View,
    head: Head,
    outline: Field,
    colour: Field,
    pattern: Field,
) -> None:
    """The hair before the forehead and temples: hairline, parting, fringe, receding."""
    zero = np.zeros_like(face.chin)
    centre_x, centre_y = view.place(zero, face.hairline, 30.0)
    x = (view.u - centre_x) * (1 / face.face_width)
    even = x * x
    x8 = even * even
    x8 = x8 * x8
    side = np.maximum(np.abs(x) - (1.02 - 0.16 * face.hair_length_now), 0)
    line = centre_y + even * 13 + x8 * 26 + side * side * 2600 * face.hair_length_now
    line += face.fringe_now * 15 * hump(((x - 0.35 * face.hair_part_now) / 0.95) ** 2)
    line += face.hair_part_now * x * 5
    line -= face.recede * (9 + 20 * hump(((np.abs(x) - 0.55) / 0.38) ** 2))
    distance = np.maximum(outline, view.v - line + pattern * 1.3)
    mask = inside(distance, 2.4) * face.hairy
    shadow = inside(np.maximum(outline, view.v - line - 3.0), 5.0) * head.mask
    paint(canvas, shadow * face.hairy * 0.25, face.skin * 0.45)
    paint(canvas, mask, colour)


def beard(canvas: Field, face: SimpleNamespace, view: View, head: Head, pattern: Field) -> None:
    """Beard and moustache, from a shadow to a full one."""
    zero = np.zeros_like(face.chin)
    du, dv = view.local(JAW, zero, face.mouth_y, 40.0)
    x = du * (1 / face.face_width)
    cheek = dv + 9.5 - 0.022 * du * du + 150 * np.maximum(np.abs(x) - 0.55, 0) ** 2
    lip = hump((du / (face.mouth_spread * 1.05)) ** 2 + ((dv - 0.8) / 5.6) ** 2)
    mask = inside(-cheek, 5.0) * head.mask[:, *JAW] * np.clip(1 - 2.5 * lip, 0, 1)
    under_nose = hump((du / 7.0) ** 2 + ((dv + 16) / 7.5) ** 2)
    mask *= np.clip(1 - 2 * under_nose, 0, 1)
    mask *= np.clip(0.85 + 0.12 * pattern[:, *JAW], 0, 1)
    shade = 0.75 + 0.08 * pattern[:, *JAW]
    paint(canvas[:, :, *JAW], mask * face.beard_density, face.beard_colour * shade[:, None])
