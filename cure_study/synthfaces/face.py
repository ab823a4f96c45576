"""All numbers of a chunk of faces, and where ArcFace's alignment puts their points in the image."""

from types import SimpleNamespace

import numpy as np

from cure_study.synthfaces.canvas import Field, Window
from cure_study.synthfaces.people import SIZE, Columns

# eyes, nose tip, mouth corners: where ArcFace (arXiv:1801.07698) puts them in a 112 px image
TEMPLATE = np.array(
    [
        (38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)  # fmt: skip
EYE_DEPTH, MOUTH_DEPTH, SKULL_DEPTH = 38.0, 43.0, 46.0


class Face(SimpleNamespace):
    """The traits and captures of one chunk, and what follows from them.

    Numbers are (B, 1, 1) and colours (B, 3, 1, 1), float32. The head is turned by its yaw and
    pitch (`cos` and `sin` are the yaw's) and aligned; `u` and `v` (B, SIZE, SIZE) are each pixel's
    place in the plane of the turned head.
    """

    def __init__(self, person: Columns, capture: Columns) -> None:
        columns = (person | capture).items()
        super().__init__(
            **{name: column.astype(np.float32)[..., None, None] for name, column in columns}
        )
        _light(self)
        _age(self)
        _colours(self)
        self._align()

    def place(self, x: Field | float, y: Field | float, z: Field | float) -> tuple[Field, Field]:
        """Where a point of the head is seen: x to the right, y down, z towards the camera."""
        depth = z * self.cos - x * self.sin
        return x * self.cos + z * self.sin, y * self._cos_pitch - depth * self._sin_pitch

    def local(
        self, window: Window, x: Field | float, y: Field, z: Field | float
    ) -> tuple[Field, Field]:
        """Offsets (B, h, w) in pixels from a point of the head, seen along its turned surface."""
        centre_x, centre_y = self.place(x, y, z)
        narrowing = np.maximum(self.cos - self.sin * x / z, 0.45)
        across = self.u[:, *window] - centre_x
        across *= 1 / narrowing
        return across, self.v[:, *window] - centre_y

    def _align(self) -> None:
        """From the image back to the head: u = a x + b y + c, v = a y - b x + d.

        The inverse of the similarity that best fits the five landmarks to the template, after
        this capture's small alignment error. In real numbers: NumPy's complex products may differ
        in the last bit with an array's length, and an image must not depend on its chunk.
        """
        yaw, pitch = np.deg2rad(self.yaw), np.deg2rad(self.pitch)
        self.cos, self.sin = np.cos(yaw), np.sin(yaw)
        self._cos_pitch, self._sin_pitch = np.cos(pitch), np.sin(pitch)
        points = [
            (-self.eye_gap, self.eye_y, EYE_DEPTH),
            (self.eye_gap, self.eye_y, EYE_DEPTH),
            (0.0, self.nose_y, self.nose_depth),
            (-self.mouth_width, self.mouth_y, MOUTH_DEPTH),
            (self.mouth_width, self.mouth_y, MOUTH_DEPTH),
        ]
        seen_x, seen_y = (
            np.concatenate(axis, axis=2)
            for axis in zip(*(self.place(*point) for point in points), strict=True)
        )
        middle_x, middle_y = seen_x.mean(axis=2, keepdims=True), seen_y.mean(axis=2, keepdims=True)
        x, y = seen_x - middle_x, seen_y - middle_y
        target_x, target_y = (TEMPLATE - TEMPLATE.mean(axis=0)).T.astype(np.float32)
        along = (x * target_x + y * target_y).sum(axis=2, keepdims=True)
        across = (x * target_y - y * target_x).sum(axis=2, keepdims=True)
        size = (x * x + y * y).sum(axis=2, keepdims=True)
        roll = np.deg2rad(self.roll)
        cos, sin = np.cos(roll) * self.scale / size, np.sin(roll) * self.scale / size
        along, across = along * cos - across * sin, along * sin + across * cos
        square = along * along + across * across
        along, across = along / square, across / square
        at_x, at_y = TEMPLATE.mean(axis=0).astype(np.float32)
        at_x, at_y = at_x + self.shift_x, at_y + self.shift_y
        pixels = np.arange(SIZE, dtype=np.float32)
        columns, rows = pixels[None, None, :], pixels[None, :, None]
        self.u = along * columns + across * rows + (middle_x - along * at_x - across * at_y)
        self.v = along * rows - across * columns + (middle_y - along * at_y + across * at_x)


def _light(face: SimpleNamespace) -> None:
    azimuth, elevation = np.deg2rad(face.light_azimuth), np.deg2rad(face.light_elevation)
    face.light_x = np.sin(azimuth) * np.cos(elevation)
    face.light_y = -np.sin(elevation)
    face.light_z = np.cos(azimuth) * np.cos(elevation)
    metering = (0.6 / face.skin.mean(axis=1)) ** 0.4  # the camera exposes for the face, in part
    face.exposure = face.exposure * metering
    warm = face.light_warmth[:, None]
    face.warmth = np.concatenate([1 + warm, 1 + 0 * warm, 1 - warm], axis=1)


def _age(face: SimpleNamespace) -> None:
    years = np.clip((face.age - 22) / 55, 0, 1.15)
    face.wrinkles = np.clip(face.wrinkling * years**1.5, 0, 1.2)
    face.fullness_now = face.fullness + 1.2 * years * (1 - years)
    face.freckling = np.clip(face.freckles, 0, 1) * 0.45 + 0.12 * face.wrinkles
    face.relief = 0.85 + 0.2 * years
    face.eye_open = face.eye_open * (1 - 0.14 * years)
    face.mouth_extent = face.mouth_width * (1 + 0.13 * face.smile - 0.06 * face.mouth_open)
    face.brow_height = face.brow_height - 0.9 * years
    face.lip_upper = np.maximum(face.lip_upper * (1 - 0.3 * years), 1.0)
    face.lip_lower = np.maximum(face.lip_lower * (1 - 0.2 * years), 1.6)
    face.nose_width = face.nose_width * (1 + 0.06 * years)
    face.brow_thickness = np.maximum(face.brow_thickness, 0.8)
    face.brow_density = 0.88 - 0.2 * years
    face.curl_kind = np.floor(np.clip(face.curl, 0, 0.99) * 3)
    face.hair_cover = np.clip(1.6 - 0.9 * face.recede, 0.15, 1)
    face.beard_density = face.beard_shown**0.8 * 0.95


def _colours(face: SimpleNamespace) -> None:
    hair = face.hair_colour
    face.brow = 0.75 * (hair * (1 - 0.3 * face.grey[:, None]))
    face.lash = 0.25 * hair + 0.02
    face.beard_colour = hair * 0.9
    face.makeup = face.makeup * (face.beard_shown == 0)
    makeup, hue = face.makeup[:, None], face.makeup_hue[:, None]
    tint = np.concatenate([1 + 0 * hue, 0.55 - 0.25 * hue, 0.55 + 0.10 * hue], axis=1)
    red = np.clip(face.lip_red[:, None] + 0.6 * makeup, 0, 1)
    pale = face.skin * np.array([0.93, 0.70, 0.68], np.float32)[:, None, None]
    face.lips = pale + red * (face.skin * tint * np.float32(0.85) - pale)
    face.lid_tint = 1 + makeup * (tint - 1) * 0.7
    face.frame_tint = 0.05 + 0.5 * face.cloth * (face.frame_colour[:, None] > 0.6)
