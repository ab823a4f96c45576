"""Decoding images, and a decoded set as one memory map in the cache."""

import io
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from filelock import FileLock
from PIL import Image, ImageOps

from cure_core.faces.faceset import SHAPE
from cure_core.files import atomic_path, cache_root
from cure_core.progress import bar

# Pillow would try every format it knows, one of which starts a program (EPS).
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
CHUNK = 1024  # images between two points from which an interrupted decoding goes on

T = TypeVar("T")


def read_image(
    source: Path | bytes, resize: bool = False, *, name: str | None = None, bgr: bool = False
) -> np.ndarray:
    """One image as (112, 112, 3) uint8; grey is repeated to three channels, transparency dropped.

    `name` is what an error calls it; with `bgr` the stored order of channels is turned round.
    Raises ValueError naming the image where it cannot be read to its end, has more than 8 bits a
    channel, or has another size and `resize` is off.
    """
    name = name or str(source)
    try:
        with Image.open(
            io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS
        ) as image:
            mode, size = image.mode, image.size
            fits = resize or size == SHAPE[:2]  # else there is no need to decode it
            rgb = ImageOps.exif_transpose(image).convert("RGB") if fits else image
    except Exception as error:  # a broken file can make a decoder raise anything
        raise ValueError(f"cannot read the image {name}: {error}; replace or remove it") from error
    if mode.startswith(("I", "F")):
        raise ValueError(f"{name} has more than 8 bits a channel ({mode}); save it with 8")
    if not fits:
        raise ValueError(
            f"{name} is {size[0]} x {size[1]} pixels, not {SHAPE[0]} x {SHAPE[1]}; "
            "align the faces to the ArcFace template, or set `resize: true` in the manifest"
        )
    if rgb.size != SHAPE[:2]:
        rgb = rgb.resize(SHAPE[:2], Image.Resampling.BILINEAR)
    pixels = np.asarray(rgb)
    return pixels[:, :, ::-1] if bgr else pixels


def decoded(
    key: str,
    count: int,
    sources: Callable[[int], Iterable[T]],
    decode: Callable[[T], np.ndarray],
    progress: bool | None = None,
) -> np.ndarray:
    """A read-only memory map (count, 112, 112, 3) in the cache, decoded on the first call alone.

    `sources(first)` yields what is to be decoded from image `first` on; `decode` runs in threads.
    A call that was interrupted, killed or met a full disk is taken up where it stood by the next;
    a second process waits for the first. Raises what `decode` raises, and then keeps nothing.
    """
    path = cache_root() / "faces" / f"{key}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        with FileLock(path.with_suffix(".lock")):
            if not path.is_file():
                _fill(path, count, sources, decode, progress)
    return np.load(path, mmap_mode="r")


def once(name: str, made: Callable[[], str]) -> str:
    """The text that `made` returns, made on the first call alone and kept in the cache."""
    path = cache_root() / "faces" / name
    if not path.is_file():
        text = made()
        with atomic_path(path) as temporary:
            temporary.write_text(text)
    return path.read_text()


def write_map(path: Path, count: int, images: Iterable[np.ndarray]) -> None:
    """Write `count` images (112, 112, 3) uint8 to a `.npy` file, one at a time.

    Plain writing, since a full disk then raises OSError; under a writable memory map it would
    end the process.
    """
    with open(path, "wb") as file:
        file.write(_header(count))
        for image in images:
            file.write(image.tobytes())
        file.flush()
        os.fsync(file.fileno())


def _header(count: int) -> bytes:
    header = io.BytesIO()
    fields = {"descr": "|u1", "fortran_order": False, "shape": (count, *SHAPE)}
    np.lib.format.write_array_header_1_0(header, fields)
    return header.getvalue()


def _fill(
    path: Path,
    count: int,
    sources: Callable[[int], Iterable[T]],
    decode: Callable[[T], np.ndarray],
    progress: bool | None,
) -> None:
    partial, header, size = path.with_suffix(".part"), _header(count), int(np.prod(SHAPE))
    partial.touch()
    begun = min(count, (partial.stat().st_size - len(header)) // size)
    # A chunk is begun when the one before is safe on the disk, so only the last one is in doubt.
    first = max(0, -(-begun // CHUNK) - 1) * CHUNK
    try:
        with open(partial, "r+b") as file:
            file.write(header)
            file.truncate(len(header) + first * size)
            file.seek(0, os.SEEK_END)
            for chunk in _chunks(sources(first), count, first, decode, progress):
                file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
    except ValueError:  # the data themselves are at fault: the next call would meet the same
        partial.unlink()
        raise
    partial.replace(path)


def _chunks(
    sources: Iterable[T],
    count: int,
    first: int,
    decode: Callable[[T], np.ndarray],
    progress: bool | None,
) -> Iterator[bytes]:
    remaining = iter(sources)
    with (
        ThreadPoolExecutor() as pool,
        bar(range(first, count), "decoding", progress, "image") as counted,
    ):
        for start in range(first, count, CHUNK):
            waiting = list(islice(remaining, min(CHUNK, count - start)))
            images = []
            for image in pool.map(decode, waiting):
                images.append(image.tobytes())
                counted.update()
            yield b"".join(images)
