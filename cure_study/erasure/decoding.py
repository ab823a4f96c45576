"""The files of a folder or a pack by number, and decoding each at one size."""

import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from cure_core.files import digest
from cure_study.data.images import UnusableImageError, decode_image
from cure_study.data.pack import Pack, list_pack
from cure_study.data.recordio import read_record
from cure_study.data.scan import scan

MIN_SIDE = 20  # pixels: below, a face has too little detail to be told by (our choice)

Align = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Files:
    """Image files by number: their `names`, in order, and how to open one.

    `left_out` names the others, with the reason; `cache_key` changes with the files.
    """

    names: tuple[str, ...]
    left_out: dict[str, str]
    cache_key: str
    opened: Callable[[int], io.BufferedReader | io.BytesIO]


def list_files(root: Path, progress: bool | None = None) -> Files:
    """The images below `root` by name, or those of a pack (`train.rec`) by record number.

    Raises ValueError if `root` is not a folder, and what `list_pack` raises of a damaged pack.
    """
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder; name the folder that holds the images")
    if (root / "train.rec").is_file():
        return _list_pack(list_pack(root, progress))
    found = scan(root)
    names = tuple(sorted(found.images))
    return Files(
        names,
        found.left_out,
        digest(names, [found.images[name] for name in names]),
        lambda number: open(root / names[number], "rb"),
    )


def _list_pack(pack: Pack) -> Files:
    def open_record(number: int) -> io.BytesIO:
        with open(pack.rec, "rb") as file:
            return io.BytesIO(read_record(file, int(pack.start[number])).content)

    return Files(tuple(map(str, pack.key.tolist())), {}, pack.cache_key, open_record)


class Decoder:
    """Decodes files by number, in any thread; keeps each one's SHA-256, and why it is left out."""

    def __init__(self, files: Files, size: tuple[int, int], align: Align | None) -> None:
        self.sha256: dict[int, str] = {}
        self.left_out: dict[int, str] = {}
        self._files, self._align, self._shape = files, align, (*size, 3)

    def __call__(self, number: int) -> np.ndarray:
        """The image (*size, 3) uint8, blank if it is left out."""
        name = self._files.names[number]
        try:
            with self._files.opened(number) as file:
                self.sha256[number] = hashlib.file_digest(file, "sha256").hexdigest()
                if not file.seek(0, os.SEEK_END):
                    raise UnusableImageError(f"{name} is empty", "empty")
                file.seek(0)
                return self._fit(decode_image(file, name, _check_size))
        except UnusableImageError as error:
            self.left_out[number] = error.reason
        except OSError:
            self.left_out[number] = "unreadable"
        return np.zeros(self._shape, np.uint8)

    def hash(self, number: int) -> None:
        """Keep the SHA-256 of a file that needs no decoding."""
        try:
            with self._files.opened(number) as file:
                self.sha256[number] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            self.left_out[number] = "unreadable"

    def _fit(self, image: Image.Image) -> np.ndarray:
        if self._align is None:
            height, width, _ = self._shape
            return np.asarray(ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR))
        try:
            aligned = self._align(np.asarray(image))
        except ValueError as error:
            raise UnusableImageError(str(error), str(error)) from error
        if aligned.shape != self._shape or aligned.dtype != np.uint8:
            raise TypeError(
                f"align returned {aligned.dtype} {aligned.shape}; it must be uint8 {self._shape}"
            )
        return aligned


def _check_size(width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE:
        raise UnusableImageError(
            f"{width} x {height} pixels", f"too small (under {MIN_SIDE} pixels a side)"
        )
