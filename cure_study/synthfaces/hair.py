"""Hair on the head and on the chin."""

import numpy as np

from cure_study.synthfaces.canvas import TILE, Field, darken, hump, inside, paint, strands, window
from cure_study.synthfaces.face import Face
from cure_study.synthfaces.people import SIZE
from cure_study.synthfaces.skin import Head

JAW = window(60, 112, 10, 102)
BROW_SHADOW = window(0, 66, 0, 112)


class Hair:
    """The hair of each head.

    `pattern` (B, SIZE, SIZE): its locks, mean 0 and standard deviation 1; `outline` (B, SIZE,
    SIZE): signed distance in pixels to its edge, negative within; `colour` (B, 3, SIZE, SIZE).
    """

    def __init__(self, face: Face, head: Head) -> None:
        self.pattern = _locks(face)
        self.outline = self._outline(face, head)
        shade = 0.84 + 0.13 * self.pattern + head.x * (0.22 * face.light_x * face.light_strength)
        ring = (head.radius - 0.93) * 6
        gloss = hump(ring * ring) * (0.20 + 0.06 * self.pattern) * (head.y < 0)
        self.colour = face.hair_colour * np.maximum(shade + gloss, 0.3)[:, None]

    def _outline(self, face: Face, head: Head) -> Field:
        """A dome above, and below it hair that falls to its length."""
        grow = 1 / (1 + face.hair_volume_now * (1 / 36))
        wide, high = head.x * grow, np.minimum(head.y, 0) * grow
        low = np.maximum(head.y, 0) * (0.55 - 0.5 * face.hair_length_now)
        dome = high * high
        radius = wide * wide + low * low + dome - np.float32(0.8) * dome * np.maximum(1 - dome, 0)
        end = 95 * face.hair_length_now**1.6 - 14
        distance = np.maximum((np.sqrt(np.maximum(radius, 0)) - 1) * 36, (face.v - end) * 0.6)
        return distance + self.pattern * (0.35 + 0.35 * face.curl_kind)


def _locks(face: Face) -> Field:
    """Straight, wavy or curly locks, shifted a little from image to image."""
    pieces = []
    corner = (TILE - SIZE) // 2
    for k, kind in enumerate(np.ravel(face.curl_kind).astype(int)):
        left = corner + int(24 * face.texture_c[k, 0, 0]) - 12
        top = corner + int(20 * face.texture_a[k, 0, 0]) - 10
        pieces.append(strands(kind)[top : top + SIZE, left : left + SIZE])
    return np.stack(pieces)


def back(canvas: Field, face: Face, hair: Hair) -> None:
    """The hair behind the head."""
    paint(canvas, inside(hair.outline, 1.8) * face.hair_cover, hair.colour * np.float32(0.72))


def front(canvas: Field, face: Face, head: Head, hair: Hair) -> None:
    """The hair before forehead and temples: hairline, fringe, parting, receding, long sides."""
    centre_x, centre_y = face.place(0.0, face.hairline, 30.0)
    x = (face.u - centre_x) * (1 / face.face_width)
    away, even = np.abs(x), x * x
    eighth = (even * even) ** 2
    side = np.maximum(away - (1.02 - 0.16 * face.hair_length_now), 0)
    line = (
        x * (5 * face.hair_part_now)
        + centre_y
        + even * 13
        + eighth * 26
        + (15 * face.fringe_now) * hump(((x - 0.35 * face.hair_part_now) * (1 / 0.95)) ** 2)
        - (20 * face.recede) * hump(((away - 0.55) * (1 / 0.38)) ** 2)
        - 9 * face.recede
        + (side * side) * (2600 * face.hair_length_now)
    )
    below = face.v - line
    shadow = np.maximum(hair.outline[:, *BROW_SHADOW], below[:, *BROW_SHADOW] - 3)
    shadow = inside(shadow, 5.0) * head.mask[:, *BROW_SHADOW]
    darken(canvas[:, :, *BROW_SHADOW], shadow * (0.14 * face.hair_cover))
    mask = inside(np.maximum(hair.outline, below + hair.pattern * 1.3), 2.4)
    paint(canvas, mask * face.hair_cover, hair.colour)


def beard(canvas: Field, face: Face, head: Head, hair: Hair) -> None:
    """Beard and moustache, from a shadow to a full one."""
    du, dv = face.local(JAW, 0.0, face.mouth_y, 40.0)
    x = du * (1 / face.face_width)
    cheek = dv + 9.5 - 0.022 * du * du + 150 * np.maximum(np.abs(x) - 0.55, 0) ** 2
    lip = hump((du / (face.mouth_extent * 1.05)) ** 2 + ((dv - 0.8) / 5.6) ** 2)
    under_nose = hump((du / 7.0) ** 2 + ((dv + 16) / 7.5) ** 2)
    mask = inside(-cheek, 5.0) * head.mask[:, *JAW] * np.clip(1 - 2.5 * lip, 0, 1)
    mask = mask * np.clip(1 - 2 * under_nose, 0, 1)
    mask = mask * np.clip(0.85 + 0.12 * hair.pattern[:, *JAW], 0, 1)
    shade = 0.75 + 0.08 * hair.pattern[:, *JAW]
    paint(canvas[:, :, *JAW], mask * face.beard_density, face.beard_colour * shade[:, None])
