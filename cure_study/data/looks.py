"""What a set of images looks like as numbers: the order of its colours, the range of its values."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cure_study.data.faceset import ImageView, Stack

SAMPLE = 512  # images looked at, spread evenly over the set
MIDDLE = slice(32, 80)  # rows and columns that a face fills
CLEAR = 2.0  # grey levels between red and blue from which their order is taken for certain


@dataclass(frozen=True)
class Looks:
    """Means of red, green and blue in the middle of the faces, and the values in use.

    `grey` is true where the three channels are equal everywhere; `low` and `high` are the least
    and the greatest value, `wrap_ddp` the distance from the 1st to the 99th percentile.
    """

    red: float
    green: float
    blue: float
    grey: bool
    low: int
    high: int
    spread: float

    @property
    def colour(self) -> str | None:
        """ "rgb", "bgr" or "grey"; None where red and blue are too close to tell.

        Skin reflects more red than blue, whoever's it is, so faces whose blue is the stronger were
        stored the other way round.
        """
        if self.grey:
            return "grey"
        if abs(self.red - self.blue) < CLEAR:
            return None
        return "rgb" if self.red > self.blue else "bgr"


def look(images: np.ndarray | Stack | ImageView) -> Looks:
    """The looks of a set of images (N, 112, 112, 3), from a sample spread evenly over it."""
    index = np.unique(np.linspace(0, len(images) - 1, SAMPLE).astype(np.int64))
    sample = images[index]
    red, green, blue = sample[:, MIDDLE, MIDDLE].mean((0, 1, 2)).tolist()
    low, high = np.percentile(sample, (1, 99))
    return Looks(
        red=red,
        green=green,
        blue=blue,
        grey=bool((np.ptp(sample, axis=3) == 0).all()),
        low=int(sample.min()),
        high=int(sample.max()),
        spread=float(high - low),
    )


def check_looks(
    images: np.ndarray | Stack, colour: str | None, span: tuple[int, int], place: Path
) -> None:
    """Raise ValueError where images, already turned to RGB, are not as `colour` and `span` say."""
    seen = look(images)
    if seen.low < span[0] or seen.high > span[1]:
        raise ValueError(
            f"{place} has values from {seen.low} to {seen.high}, outside the manifest's `range` "
            f"{list(span)}; correct the one or the other"
        )
    if seen.spread < (span[1] - span[0]) / 8:
        raise ValueError(
            f"{place} has values from {seen.low} to {seen.high}, hardly any of the manifest's "
            f"`range` {list(span)}; they were perhaps scaled to 0..1 before they were saved"
        )
    if colour is None or seen.colour is None:
        return
    told = f"{place} is said to be {colour}, but"
    if colour == "grey" and seen.colour != "grey":
        raise ValueError(f"{told} its channels differ; set `colour` to rgb or bgr")
    if colour != "grey" and seen.colour == "grey":
        raise ValueError(f"{told} its channels are equal; set `colour` to grey")
    if colour != "grey" and seen.colour == "bgr":
        other = {"rgb": "bgr", "bgr": "rgb"}[colour]
        raise ValueError(
            f"{told} read so, the faces are bluer ({seen.blue:.0f}) than red ({seen.red:.0f}); set "
            f"`colour` to {other}, or to null to leave it unchecked"
        )
