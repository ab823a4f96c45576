"""From a head in space to the aligned picture: projection, and the alignment of ArcFace."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from cure_core.faces.synthfaces.canvas import Field, Window
from cure_core.faces.synthfaces.people import SIZE

CENTRE = (56.0, 72.0)
# eyes, nose tip, mouth corners: where ArcFace (arXiv:1801.07698) puts them in a 112 px picture
TEMPLATE = np.array(
    [38.2946 + 51.6963j, 73.5318 + 51.5014j, 56.0252 + 71.7366j, 41.5493 + 92.3655j,
     70.7299 + 92.2041j]
)  # fmt: skip
EYE_DEPTH, MOUTH_DEPTH, SKULL_DEPTH = 38.0, 43.0, 46.0


class View:
    """The heads of one chunk, turned by their yaw and pitch and aligned into the picture.

    `u` and `v` (B, SIZE, SIZE) are each pixel's place in the plane of the turned head.
    """

    def __init__(self, face: SimpleNamespace) -> None:
        yaw, pitch = np.deg2rad(face.yaw), np.deg2rad(face.pitch)
        self.cos, self.sin = np.cos(yaw), np.sin(yaw)
        self._cos_pitch, self._sin_pitch = np.cos(pitch), np.sin(pitch)
        turn, move = self._align(face)
        x = np.arange(SIZE, dtype=np.float32)[None, None, :]
        y = np.arange(SIZE, dtype=np.float32)[None, :, None]
        back = 1 / turn
        start = -move * back
        real, imaginary = back.real.astype(np.float32), back.imag.astype(np.float32)
        self.u = (real * x + start.real.astype(np.float32)) - imaginary * y
        self.v = (imaginary * x + start.imag.astype(np.float32)) + real * y

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

    def _align(self, face: SimpleNamespace) -> tuple[np.ndarray, np.ndarray]:
        """The similarity (factor and shift, complex) that best fits the five landmarks."""
        zero = np.zeros_like(face.eye_gap)
        points = [
            (-face.eye_gap, face.eye_y, EYE_DEPTH),
            (face.eye_gap, face.eye_y, EYE_DEPTH),
            (zero, face.nose_y, face.nose_depth),
            (-face.mouth_width, face.mouth_y, MOUTH_DEPTH),
            (face.mouth_width, face.mouth_y, MOUTH_DEPTH),
        ]
        seen = np.concatenate([x + 1j * y for x, y in (self.place(*p) for p in points)], axis=2)
        middle = seen.mean(axis=2, keepdims=True)
        offsets = seen - middle
        turn = (offsets.conj() * (TEMPLATE - TEMPLATE.mean())).sum(axis=2, keepdims=True)
        turn /= (np.abs(offsets) ** 2).sum(axis=2, keepdims=True)
        turn = turn * face.scale * np.exp(1j * np.deg2rad(face.roll))
        return turn, TEMPLATE.mean() + face.shift_x + 1j * face.shift_y - turn * middle
