"""The type for a set of faces: the images, and, separately, whose they are."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from mmap import mmap
from typing import Any

import numpy as np
import pandas as pd

from cure_core import html
from cure_core.metrics.pairs import Pairs

SHAPE = (112, 112, 3)


@dataclass(frozen=True, eq=False, repr=False)
class ConcatImages:
    """Several arrays or maps of images (N, 112, 112, 3), indexed as one, without copying all."""

    parts: tuple[np.ndarray, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.parts[0].shape[1:])

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, key: int | slice | np.ndarray) -> np.ndarray:
        index = np.arange(len(self))[key]
        ends = np.cumsum([len(part) for part in self.parts])
        part_of = np.searchsorted(ends, index, side="right")
        if index.ndim == 0:
            return self.parts[part_of][index - ends[part_of]]  # counted from the part's end
        images = np.empty((len(index), *self.shape[1:]), np.uint8)
        for i, (part, end) in enumerate(zip(self.parts, ends, strict=True)):
            rows = part_of == i
            images[rows] = part[index[rows] - end]
        return images


@dataclass(frozen=True)
class MapPath:
    """Where a memory map lies: all that is needed to open it again."""

    filename: str
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]


def _by_path(images: Any) -> Any:
    """The images with each memory map replaced by its `MapPath`."""
    if isinstance(images, ConcatImages):
        return ConcatImages(tuple(_by_path(part) for part in images.parts))
    if isinstance(images, np.memmap) and isinstance(images.base, mmap):  # no slice of another map
        return MapPath(str(images.filename), images.dtype, images.offset, images.shape)
    return images


def _opened(images: Any) -> Any:
    """The images that `_by_path` replaced."""
    if isinstance(images, ConcatImages):
        return ConcatImages(tuple(_opened(part) for part in images.parts))
    if isinstance(images, MapPath):
        return np.memmap(images.filename, images.dtype, "r", images.offset, images.shape)
    return images


@dataclass(frozen=True)
class LeftOut:
    """What is not read of a folder: `files` with the reason, and `people` without an image."""

    files: Mapping[str, str] = field(default_factory=dict)
    people: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.files or self.people)

    def __str__(self) -> str:
        """As in "12 files left out: 9 .heic, 3 hidden; 1 person without an image: Zoe"."""
        parts = []
        if self.files:
            reasons = Counter(self.files.values()).most_common()
            counted = ", ".join(f"{number:,} {reason}" for reason, number in reasons)
            files = "file" if len(self.files) == 1 else "files"
            parts.append(f"{len(self.files):,} {files} left out: {counted}")
        if self.people:
            named = ", ".join(self.people[:3]) + ", ..." * (len(self.people) > 3)
            people = "person" if len(self.people) == 1 else "people"
            parts.append(f"{len(self.people):,} {people} without an image: {named}")
        return "; ".join(parts)


@dataclass(frozen=True, eq=False, repr=False)
class FaceSet:
    """Faces of 112 x 112 RGB uint8, and, separately, whose they are.

    `images` (N, 112, 112, 3) uint8, often a read-only memory map or `ConcatImages` of several;
    `identities` (N,) int64 numbers people; `people` names them; `attributes` has one row an image
    (for SynthFaces the true capture values, and in `unseen` whether an image is for the protocols
    only); `protocols` are named verification pairs; `left_out` is what was found and not read;
    `fingerprint` is a digest of the content, or of the drawing's options, for caches and results.
    """

    name: str
    images: np.ndarray | ConcatImages
    identities: np.ndarray
    fingerprint: str
    people: tuple[str, ...] = ()
    attributes: pd.DataFrame | None = None
    protocols: Mapping[str, Pairs] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=LeftOut)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.images[index]

    def __getstate__(self) -> dict[str, Any]:
        """As another process gets it: a memory map goes by its path, not by its content."""
        return {**vars(self), "images": _by_path(self.images)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, images=_opened(state["images"]))

    @property
    def unseen(self) -> np.ndarray:
        """(N,) bool: the images that are for the protocols only."""
        if self.attributes is None or "unseen" not in self.attributes:
            return np.zeros(len(self), bool)
        return self.attributes["unseen"].to_numpy(bool)

    def __repr__(self) -> str:
        known = "".join(f", {name}: {len(pairs):,} pairs" for name, pairs in self.protocols.items())
        left_out = f"; {self.left_out}" if self.left_out else ""
        return (
            f"FaceSet({self.name}: {len(self):,} images of {len(np.unique(self.identities)):,} "
            f"people{known}{left_out})"
        )

    def _repr_html_(self) -> str:
        """Numbers, and the first images if they are drawn: real faces are not shown unasked."""
        people, counts = np.unique(self.identities, return_counts=True)
        rows = {
            "images": f"{len(self):,} of {SHAPE[0]} x {SHAPE[1]}",
            "people": f"{len(people):,}, with {counts.min()} to {counts.max()} images",
            **{f"pairs, {name}": f"{len(pairs):,}" for name, pairs in self.protocols.items()},
            **({"left out": str(self.left_out)} if self.left_out else {}),
            "fingerprint": self.fingerprint,
        }
        table = html.table(f"FaceSet {self.name}", rows)
        return table + html.strip(self.images[:8]) if self.name == "synthfaces" else table


@dataclass(frozen=True, eq=False, repr=False)
class ImageView:
    """Some images of a set, by index, read on access: no copy, and no access to a label."""

    images: np.ndarray | ConcatImages
    index: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.index), *self.images.shape[1:])

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: int | slice | np.ndarray) -> np.ndarray:
        return self.images[self.index[key]]

    def __repr__(self) -> str:
        return f"ImageView({len(self):,} of {len(self.images):,} images)"
