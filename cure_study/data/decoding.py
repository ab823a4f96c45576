"""Decoding images, and a decoded set as one memory map in the cache."""

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import numpy as np
from PIL import Image, ImageFile, ImageOps

from cure_core.files import naming, seal
from cure_core.runtime.progress import bar
from cure_study.data.cache import IMAGE, cache_path, cached, map_header, open_map
from cure_study.data.faceset import SHAPE

if TYPE_CHECKING:
    from hashlib import _Hash

# Pillow would try every format it knows, one of which starts a program (EPS). HEIF is there only
# where a plugin such as pillow-heif was registered, AVIF from Pillow 11.3 on.
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
CHUNK = 1024  # images between two points from which an interrupted decoding goes on

T = TypeVar("T")


def read_image(
    source: Path | bytes, resize: bool = False, *, name: str | None = None, bgr: bool = False
) -> np.ndarray:
    """One image as (112, 112, 3) uint8; grey is repeated to three channels, transparency dropped.

    The format is recognised by the content, whatever the file's name. `name` is what an error
    calls it; with `bgr` the stored order of channels is turned round.
    Raises ValueError naming the image where it cannot be read to its end, has more than 8 bits a
    channel or more than one frame, or has another size and `resize` is off.
    """
    name = name or str(source)
    try:
        with open_image(source) as image:
            size, deep, frames = image.size, _deep(image), _frames(image)
            fits = resize or size == SHAPE[:2]
            if fits and not deep and frames == 1:  # else there is no need to decode it
                rgb = ImageOps.exif_transpose(image).convert("RGB")
    except Exception as error:  # a broken file can make a decoder raise anything
        raise ValueError(f"cannot read the image {name}: {error}; replace or remove it") from error
    if deep:
        raise ValueError(f"{name} has more than 8 bits a channel; save it with 8")
    if frames > 1:
        raise ValueError(f"{name} holds {frames} images; save the one that is meant")
    if not fits:
        raise ValueError(
            f"{name} is {size[0]} x {size[1]} pixels, not {SHAPE[0]} x {SHAPE[1]}; "
            "align the faces to the ArcFace template, or set `resize: true` in the manifest"
        )
    if rgb.size != SHAPE[:2]:
        rgb = rgb.resize(SHAPE[:2], Image.Resampling.BILINEAR)
    pixels = np.asarray(rgb)
    return pixels[:, :, ::-1] if bgr else pixels


def open_image(source: Path | bytes) -> ImageFile.ImageFile:
    """An image by its content, in one of `FORMATS`, not yet decoded; raises what Pillow raises."""
    Image.init()
    known = [name for name in FORMATS if name in Image.OPEN]
    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=known)


def _deep(image: ImageFile.ImageFile) -> bool:
    """Whether a channel has more than 8 bits; for colour Pillow's mode hides it, and cuts them."""
    if image.mode.startswith(("I", "F")):
        return True
    raw = image.tile[0][3] if image.tile else None  # how the decoder reads the pixels
    if image.format == "PNG":
        return str(raw).endswith(";16B")
    if image.format == "PPM":
        return isinstance(raw, tuple) and raw[-1] > 255
    if image.format == "TIFF":
        return max(image.tag_v2.get(258, (1,))) > 8  # type: ignore[attr-defined]
    if image.format == "AVIF":  # the flag `high_bitdepth` of the box av1C
        assert image.fp is not None  # open until its pixels are read
        image.fp.seek(0)
        content = image.fp.read()
        return bool(content[content.find(b"av1C") + 6] & 0x40)
    return image.info.get("bit_depth", 8) > 8  # as pillow-heif states it


def _frames(image: ImageFile.ImageFile) -> int:
    """Images in the file; of a camera's multi-picture JPEG only the first counts."""
    return 1 if image.format in ("JPEG", "MPO") else getattr(image, "n_frames", 1)


def decoded(
    key: str,
    count: int,
    sources: Callable[[int], Iterable[T]],
    decode: Callable[[T], np.ndarray],
    progress: bool | None = None,
) -> np.ndarray:
    """A read-only memory map (count, 112, 112, 3) in the cache, decoded on the first call only.

    `sources(first)` yields what is to be decoded from image `first` on; `decode` runs in threads.
    A call that was interrupted, killed or met a full disk is continued by the next; a second
    process waits for the first. The first call of a process checks the map's SHA-256; a damaged
    map is named in a warning and decoded again. Raises what `decode` raises, and then keeps
    nothing, and OSError naming the map where it cannot be written.
    """
    path = cache_path(f"{key}.npy")
    return cached(
        path,
        lambda: _fill(path, count, sources, decode, progress),
        lambda: open_map(path, progress),
    )


def _fill(
    path: Path,
    count: int,
    sources: Callable[[int], Iterable[T]],
    decode: Callable[[T], np.ndarray],
    progress: bool | None,
) -> None:
    """Decode into `.part`; `.digests` beside it holds the SHA-256 of all up to each chunk's end."""
    partial, digests = path.with_suffix(".part"), path.with_suffix(".digests")
    partial.touch()
    digests.touch()
    try:
        with naming(path), open(partial, "r+b") as file, open(digests, "r+b") as lines:
            first, sha = _resume(file, lines, count)
            for chunk in _chunks(sources(first), count, first, decode, progress):
                file.write(chunk)
                sha.update(chunk)
                file.flush()
                os.fsync(file.fileno())  # a chunk is on the disk before its digest
                lines.write(sha.digest())
                lines.flush()
            seal(file, sha)
    except ValueError:  # the data themselves are at fault: the next call would meet the same
        partial.unlink()
        digests.unlink()
        raise
    partial.replace(path)
    digests.unlink()


def _resume(file: BinaryIO, digests: BinaryIO, count: int) -> tuple[int, "_Hash"]:
    """How many images of a partial map match their digests, and the SHA-256 so far.

    Leaves both files cut to what matches, at their ends.
    """
    header = map_header(count)
    sha, first = hashlib.sha256(header), 0
    good = file.read(len(header)) == header
    while good and first < count:
        chunk = file.read(min(CHUNK, count - first) * IMAGE)
        after = sha.copy()
        after.update(chunk)
        good = digests.read(sha.digest_size) == after.digest()
        if good:
            sha, first = after, min(count, first + CHUNK)
    file.seek(0)
    file.write(header)
    file.truncate(len(header) + first * IMAGE)
    digests.truncate(-(-first // CHUNK) * sha.digest_size)
    for each in (file, digests):
        each.seek(0, os.SEEK_END)
    return first, sha


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
