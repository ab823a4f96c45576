"""Statistics of a set of images that reveal a wrong channel order or value range."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cure_study.data.faceset import ConcatImages, ImageView

SAMPLE = 512  # images of the sample, evenly spaced over the set
MIDDLE = slice(32, 80)  # rows and columns that a face fills
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
