"""Statistics of a set of images that reveal how they were stored, aligned and copied."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from cure_core.encoders.images import take
from cure_core.files import digest
from cure_core.runtime.progress import bar
from cure_study.data.faceset import ConcatImages, ImageView
from cure_study.synthfaces.face import TEMPLATE

SAMPLE = 512  # images of the sample, evenly spaced over the set
MIDDLE = slice(32, 80)  # rows and columns that a face fills
REACH = 12  # pixels around the template in which an eye is looked for
FLAT = 3.0  # standard deviation in grey levels of an image that shows nothing
CLEAR = 2.0  # grey levels by which red and blue must differ for the channel order to be clear


@dataclass(frozen=True)
class ImageStatistics:
    """Means of red and blue in the middle of the faces, and the values in use.

    `grey`: the three channels are equal everywhere; `low` and `high`: the smallest and the largest
    value; `contrast`: the distance from the 1st to the 99th percentile.
    """

    red: float
    blue: float
    grey: bool
    low: int
    high: int
    contrast: float

    @property
    def colour(self) -> str | None:
        """ "rgb", "bgr" or "grey"; None if red and blue are too close to tell.

        Skin of any tone reflects more red than blue, so if blue is stronger, the channels were
        stored in reverse order.
        """
        if self.grey:
            return "grey"
        if abs(self.red - self.blue) < CLEAR:
            return None
        return "rgb" if self.red > self.blue else "bgr"


def image_statistics(images: np.ndarray | ConcatImages | ImageView) -> ImageStatistics:
    """The statistics of images (N, 112, 112, 3), from an evenly spaced sample."""
    sample = images[np.unique(np.linspace(0, len(images) - 1, SAMPLE).astype(np.int64))]
    red, _, blue = sample[:, MIDDLE, MIDDLE].mean((0, 1, 2)).tolist()
    low, high = np.percentile(sample, (1, 99))
    return ImageStatistics(
        red=red,
        blue=blue,
        grey=bool((sample[..., 1:] == sample[..., :1]).all()),
        low=int(sample.min()),
        high=int(sample.max()),
        contrast=float(high - low),
    )


def check_statistics(
    images: np.ndarray, colour: str | None, span: tuple[int, int], path: Path
) -> None:
    """Raise ValueError if images, already converted to RGB, contradict `colour` or `span`."""
    found = image_statistics(images)
    values = f"{path} has values from {found.low} to {found.high}"
    if found.low < span[0] or found.high > span[1]:
        raise ValueError(
            f"{values}, outside the manifest's `range` {list(span)}; correct the one or the other"
        )
    if found.contrast < (span[1] - span[0]) / 8:
        raise ValueError(
            f"{values}, hardly any of the manifest's `range` {list(span)}; they were perhaps "
            "scaled to 0..1 before they were saved"
        )
    if colour is None or found.colour is None:
        return
    claim = f"{path} is said to be {colour}, but"
    if colour == "grey" and found.colour != "grey":
        raise ValueError(f"{claim} its channels differ; set `colour` to rgb or bgr")
    if colour != "grey" and found.colour == "grey":
        raise ValueError(f"{claim} its channels are equal; set `colour` to grey")
    if colour != "grey" and found.colour == "bgr":
        other = {"rgb": "bgr", "bgr": "rgb"}[colour]
        raise ValueError(
            f"{claim} read so, the faces are bluer ({found.blue:.0f}) than red ({found.red:.0f}); "
            f"set `colour` to {other}, or to null to leave it unchecked"
        )


class Summary(NamedTuple):
    """What one pass over the images gives."""

    thumbnails: np.ndarray  # (N, 256) float32, centred and of length one; zero for flat images
    digests: np.ndarray  # (N,) text
    flat: int  # how many images show nothing
    mean: np.ndarray  # (112, 112, 3) float


def summarise(images: np.ndarray | ConcatImages | ImageView, progress: bool | None) -> Summary:
    """Thumbnails, digests, the number of flat images and the mean of images (N, 112, 112, 3)."""
    thumbnails = np.empty((len(images), 256), np.float32)
    digests, flat, total = [], 0, np.zeros((112, 112, 3))
    for start in bar(range(0, len(images), 512), "looking", progress, "batch"):
        index = np.arange(start, min(start + 512, len(images)))
        batch = take(images, index).permute(0, 2, 3, 1).numpy()
        small = batch.reshape(len(batch), 16, 7, 16, 7, 3).mean((2, 4, 5)).reshape(-1, 256)
        small -= small.mean(1, keepdims=True)
        flat += int((small.std(1) < FLAT).sum())
        length = np.linalg.norm(small, axis=1, keepdims=True)
        thumbnails[index] = small / np.maximum(length, 1e-6)
        digests += [digest(image) for image in batch]
        total += batch.sum(0, dtype=np.int64)
    return Summary(thumbnails, np.array(digests), flat, total / len(images))


def eye_offsets(mean: np.ndarray) -> dict[str, tuple[float, float]]:
    """By how many pixels, right and down, the eyes of a mean face (112, 112, 3) miss the template.

    An eye is the darkest spot near its place in the template, which is about 1.5 pixels above the
    eye's centre because of the brow. For a set that is far off, the offsets mean little.
    """
    grey = gaussian_filter(mean.mean(2), 2.5)
    offsets = {}
    for name, (x, y) in zip(("left eye", "right eye"), TEMPLATE[:2], strict=True):
        top, left = round(y) - REACH, round(x) - REACH
        window = grey[top : top + 2 * REACH + 1, left : left + 2 * REACH + 1]
        row, column = np.unravel_index(window.argmin(), window.shape)
        offsets[name] = (float(left + column - x), float(top + row - y))
    return offsets
