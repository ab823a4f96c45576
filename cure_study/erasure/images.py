"""The images of a request: any folder, decoded once into a memory map in the cache."""

import hashlib
import json
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cure_core.files import digest
from cure_study.data.faceset import LeftOut
from cure_study.data.image_cache import cache_path, cached_bytes, cached_images
from cure_study.erasure.decoding import Align, Decoder, list_files


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """The images below `root`.

    `files` are sorted POSIX paths relative to it, as on disk (of a pack: record numbers, in
    order); `images` (N, H, W, 3) uint8 a read-only memory map in their order; `left_out` names
    every other file, with the reason; `sha256` is that of each file's bytes.
    """

    root: Path
    files: tuple[str, ...]
    images: np.ndarray
    left_out: LeftOut
    sha256: tuple[str, ...]


def read_folder(
    root: str | Path,
    size: tuple[int, int] = (112, 112),
    *,
    align: Align | None = None,
    progress: bool | None = None,
) -> ImageFolder:
    """Every usable image below `root`, at any depth, as (height, width) = `size`; or a pack's.

    An image of another size is cropped around its centre to the shape of `size`, then resized
    with antialiasing (our choice: a face crop has the face in its centre, and bars or stretching
    would show the encoder what it never saw); one of that size stays as it is. `align`, if given,
    makes the (*size, 3) array from the (h, w, 3) one, and raises ValueError with a short reason
    for an image to leave out; its attribute `key` names its version for the cache.
    A file that cannot be used is left out with the reason; so is one whose name is not UTF-8.
    Nothing is written below `root`: decoded copies go into the cache, see `forget_folder_cache`.
    They are decoded on the first call only, which resumes where it was interrupted; later calls
    compare names, sizes and times of the files.
    Raises ValueError if there is no usable image.
    """
    root = Path(root).expanduser()
    files = list_files(root, progress)
    decoder = Decoder(files, size, align)
    key = _cache_name(root, digest(files.cache_key, size, _align_key(align)))
    count, shape = len(files.names), (*size, 3)

    def decode_all() -> np.ndarray:
        return cached_images(
            f"{key}-all", count, lambda first: range(first, count), decoder, progress, shape
        )

    def describe() -> bytes:
        _examine(decode_all(), decoder)
        sha256 = [decoder.sha256.get(number) for number in range(count)]
        return json.dumps({"sha256": sha256, "left_out": decoder.left_out}).encode()

    described = json.loads(cached_bytes(f"{key}.json", describe)) if count else {"left_out": {}}
    unusable = {int(number): reason for number, reason in described["left_out"].items()}
    reasons = files.left_out | {files.names[i]: reason for i, reason in unusable.items()}
    left_out = LeftOut(dict(sorted(reasons.items())))
    usable = [number for number in range(count) if number not in unusable]
    if not usable:
        raise ValueError(f"no usable image in {root}{f': {left_out}' if left_out else ''}")

    def copies(first: int) -> Iterable[np.ndarray]:
        everything = decode_all()
        return (everything[number] for number in usable[first:])

    if unusable:
        images = cached_images(key, len(usable), copies, np.asarray, progress, shape)
        cache_path(f"{key}-all.npy").unlink(missing_ok=True)
    else:
        images = decode_all()
    return ImageFolder(
        root=root,
        files=tuple(files.names[number] for number in usable),
        images=images,
        left_out=left_out,
        sha256=tuple(described["sha256"][number] for number in usable),
    )


def _examine(images: np.ndarray, decoder: Decoder) -> None:
    """Complete the decoder's findings for the images that an interrupted call had decoded."""

    def examine(number: int) -> None:
        if images[number].any():
            decoder.hash(number)
        elif decoder(number).any():
            decoder.left_out[number] = "unreadable"  # it was, when it was decoded

    known = decoder.sha256.keys() | decoder.left_out.keys()
    with ThreadPoolExecutor() as pool:
        list(pool.map(examine, (number for number in range(len(images)) if number not in known)))


def forget_folder_cache(root: str | Path) -> None:
    """Delete the decoded copies that `read_folder` made of the images below `root`, at any size.

    They show people's faces: call this when a request is finished. The folder itself stays as it
    is; the next `read_folder` decodes it again.
    """
    shutil.rmtree(cache_path(_cache_name(Path(root).expanduser(), "")), ignore_errors=True)


def _cache_name(root: Path, name: str) -> str:
    return f"request-{digest(str(root.resolve()))}/{name}"


def _align_key(align: Align | None) -> object:
    if align is None:
        return None
    return getattr(align, "key", None) or getattr(align, "__qualname__", type(align).__qualname__)


def pixel_digests(images: np.ndarray, index: np.ndarray) -> list[bytes]:
    """The SHA-256 of each of these images' pixels."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda i: hashlib.sha256(images[i].tobytes()).digest(), index))
