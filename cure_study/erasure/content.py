"""Finding the images of one folder in another, by content."""

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from cure_study.erasure.decoding import Align, Decoder, list_files
from cure_study.erasure.images import ImageFolder, pixel_digests
from cure_study.erasure.names import Match


def match_content(path: Path, folder: ImageFolder, align: Align | None) -> Iterator[Match]:
    """The images of `folder` that each file below `path` is a copy of, or why there is none.

    Compared by bytes, then by pixels once decoded at the folder's size. Hidden files are ignored.
    """
    files = list_files(path)
    for name, reason in sorted(files.left_out.items()):
        if reason != "hidden":
            yield Match("", name, problem=partial(str, f"cannot be used: {reason}"))
    height, width = folder.images.shape[1:3]
    decoder = Decoder(files, (height, width), align)
    with ThreadPoolExecutor() as pool:
        list(pool.map(decoder.hash, range(len(files.names))))
    by_bytes = _positions(folder.sha256)
    by_pixels: dict[bytes, list[int]] | None = None
    for number, name in enumerate(files.names):
        images = by_bytes.get(decoder.sha256.get(number, ""))
        if images is None:
            pixels = decoder(number)
            if number in decoder.left_out:
                yield Match(
                    "", name, problem=partial(str, f"cannot be used: {decoder.left_out[number]}")
                )
                continue
            if by_pixels is None:
                by_pixels = _positions(pixel_digests(folder.images, np.arange(len(folder.files))))
            images = by_pixels.get(pixel_digests(pixels[None], np.arange(1))[0])
        missing = partial(str, f"is not in {folder.root}, by its bytes or its pixels")
        yield Match("", name, images or (), None if images else missing)


def _positions(digests: tuple[str, ...] | list[bytes]) -> dict:
    positions = defaultdict(list)
    for i, digest in enumerate(digests):
        positions[digest].append(i)
    return dict(positions)
