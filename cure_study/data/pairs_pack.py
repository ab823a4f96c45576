"""Verification pairs as InsightFace packs them: `lfw.bin`, `agedb_30.bin`, `cfp_fp.bin`.

A pickle of (images, same): 2P encoded images, the two of a pair next to each other, and P booleans.
"""

from pathlib import Path
from typing import Any

import numpy as np

from cure_core.files import digest
from cure_study.data.image_cache import cached_images
from cure_study.data.images import read_image
from cure_study.data.pickled import Array, read_pickle


def read_pairs(
    path: str | Path, *, resize: bool = False, bgr: bool = False, progress: bool | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Images (2P, 112, 112, 3) uint8 of P pairs, and which are `genuine` (P,) bool.

    Pair p is images 2p and 2p + 1. Decoded on the first call only; nothing in the file is run.
    Raises FileNotFoundError if there is no file, and ValueError naming it and the byte, the image
    or the pair that is wrong.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    stat = path.stat()
    content = path.read_bytes()
    encoded, genuine = _unpack(read_pickle(content, str(path)), path)
    key = digest(str(path.resolve()), stat.st_size, stat.st_mtime_ns, resize, bgr)

    def decode(number: int) -> np.ndarray:
        try:
            return read_image(encoded[number], resize, name=f"{number} of {path}", bgr=bgr)
        except ValueError as error:
            raise ValueError(f"byte {content.find(encoded[number])}: {error}") from error

    count = len(encoded)
    return cached_images(key, count, lambda first: range(first, count), decode, progress), genuine


def _unpack(held: Any, path: Path) -> tuple[list[bytes], np.ndarray]:
    """The encoded images and `genuine` of an unpickled value, checked."""
    if not isinstance(held, tuple | list) or len(held) != 2:
        raise ValueError(f"{path} holds {_kind(held)}; expected (images, booleans)")
    images, same = held
    if isinstance(same, Array):
        same = np.frombuffer(same.content, same.dtype).tolist()
    for what, values in (("images", images), ("booleans", same)):
        if not isinstance(values, list):
            raise ValueError(f"{path}: its {what} are {_kind(values)}; expected a list")
    encoded = [image.content if isinstance(image, Array) else image for image in images]
    for i, image in enumerate(encoded):
        if not isinstance(image, bytes):
            raise ValueError(f"{path}: image {i} is {_kind(image)}; expected an image's bytes")
    for i, value in enumerate(same):
        if not isinstance(value, int) or value not in (0, 1):
            raise ValueError(f"{path}: the answer {i} is {_kind(value)}; expected True or False")
    if not same or len(encoded) != 2 * len(same):
        raise ValueError(
            f"{path} holds {len(encoded):,} images and {len(same):,} answers; a pair has two "
            "images and one answer"
        )
    _check_answers(encoded, same, path)
    return encoded, np.array(same, dtype=bool)


def _check_answers(encoded: list[bytes], same: list[int], path: Path) -> None:
    """No image is an impostor of itself, and the same two images have one answer."""
    answers: dict[frozenset[bytes], int] = {}
    for pair, answer in enumerate(same):
        images = frozenset(encoded[2 * pair : 2 * pair + 2])
        first = answers.setdefault(images, pair)
        if len(images) == 1 and not answer:
            raise ValueError(f"{path}: pair {pair} calls an image an impostor of itself")
        if same[first] != answer:
            raise ValueError(
                f"{path}: pairs {first} and {pair} are of the same two images, one genuine and "
                "one of impostors; remove the wrong one"
            )


def _kind(value: object) -> str:
    size = f" of {len(value):,}" if isinstance(value, list | tuple | bytes | str) else ""
    return f"{type(value).__name__}{size}"
