"""From a head in space to the aligned picture: projection, and the alignment of ArcFace."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from cure_study.synthfaces.canvas import Field, Window
from cure_study.synthfaces.people import SIZE

CENTRE = (56.0, 72.0)
# eyes, nose tip, mouth corners: where ArcFace (arXiv:1801.07698) puts them in a 112 px picture
TEMPLATE = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)
EYE_DEPTH, MOUTH_DEPTH, SKULL_DEPTH = 38.0, 43.0, 46.0


class View:
    """The heads of one chunk, turned by their yaw and pitch and aligned into the picture.

    `u` and `v` (B, SIZE, SIZE) are each pixel's place in the plane of the turned head.
    """

    def __init__(self, face: SimpleNamespace) -> None:
        yaw, pitch = np.deg2rad(face.yaw), np.deg2rad(face.pitch)
        self.cos, self.sin = np.cos(yaw), np.sin(yaw)
        self._cos_pitch, self._sin_pitch = np.cos(pitch), np.sin(pitch)
        along, aside, start_x, start_y = self._align(face)
        x = np.arange(SIZE, dtype=np.float32)[None, None, :]
        y = np.arange(SIZE, dtype=np.float32)[None, :, None]
        self.u = along * x + aside * y + start_x
        self.v = along * y - aside * x + start_y

    def place(self, x: Field, y: Field, z: Field | float) -> tuple[Field, Field]:
        """Where a point of the head is seen: x to the right, y down, z towards the camera."""
        depth = z * self.cos - x * self.sin
        return x * self.cos + z * self.sin, y * self._cos_pitch - depth * self._sin_pitch

    def local(self, window: Window, x: Field, y: Field, z: Field | float) -> tuple[Field, Field]:
        """Offsets (B, h, w) in pixels from a point of the head, seen along its turned surface."""
        centre_x, centre_y = self.place(x, y, z)
        narrowing = np.maximum(self.cos - self.sin * x / z, 0.45)
        across = self.u[:, *window] - centre_x
        across *= 1 / narrowing
        return across, self.v[:, *window] - centre_y

    def _align(self, face: SimpleNamespace) -> tuple[Field, ...]:
        """From the picture back to the head: u = a x + b y + c, v = a y - b x + d, as (a, b, c, d).

        The inverse of the similarity that best fits the five landmarks to the template, after
        this capture's own small error. In real numbers: NumPy's complex products may differ in
        the last bit with an array's length, and a picture must not depend on its chunk.
        """
        zero = np.zeros_like(face.eye_gap)
        points = [
            (-face.eye_gap, face.eye_y, EYE_DEPTH),
            (face.eye_gap, face.eye_y, EYE_DEPTH),
            (zero, face.nose_y, face.nose_depth),
            (-face.mouth_width, face.mouth_y, MOUTH_DEPTH),
            (face.mouth_width, face.mouth_y, MOUTH_DEPTH),
        ]
        seen_x, seen_y = (
            np.concatenate(axis, axis=2)
            for axis in zip(*(self.place(*point) for point in points), strict=True)
        )
        middle_x, middle_y = seen_x.mean(axis=2, keepdims=True), seen_y.mean(axis=2, keepdims=True)
        x, y = seen_x - middle_x, seen_y - middle_y
        goal_x, goal_y = (TEMPLATE - TEMPLATE.mean(axis=0)).T.astype(np.float32)
        along = (x * goal_x + y * goal_y).sum(axis=2, keepdims=True)
        aside = (x * goal_y - y * goal_x).sum(axis=2, keepdims=True)
        size = (x * x + y * y).sum(axis=2, keepdims=True)
        roll = np.deg2rad(face.roll)
        cos, sin = np.cos(roll) * face.scale / size, np.sin(roll) * face.scale / size
        along, aside = along * cos - aside * sin, along * sin + aside * cos
        square = along * along + aside * aside
        along, aside = along / square, aside / square
        at_x, at_y = TEMPLATE.mean(axis=0).astype(np.float32)
        at_x, at_y = at_x + face.shift_x, at_y + face.shift_y
        start_x = middle_x - along * at_x - aside * at_y
        start_y = middle_y - along * at_y + aside * at_x
        return along, aside, start_x, start_y
