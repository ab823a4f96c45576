"""Files of the faces cache: each is made by one process at a time and checked by its SHA-256."""

import hashlib
import io
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np

from cure_core.files import (
    SEAL,
    DamagedFileError,
    atomic_path,
    check_seal,
    naming,
    read_sealed,
    seal,
    write_sealed,
)
from cure_core.runtime.progress import bar
from cure_study.data.faceset import SHAPE
from cure_study.paths import cache_root, locked

IMAGE = int(np.prod(SHAPE))  # bytes
QUICK = 2**30  # bytes that are checked in a second or so, without a bar
BLOCK = 1 << 24  # bytes hashed between two steps of the progress bar

T = TypeVar("T")
_verified: set[tuple[str, int, int]] = set()  # path, size and mtime_ns of maps hashed before


def cache_path(name: str) -> Path:
    """Where `name` lies in the faces cache."""
    return cache_root() / "faces" / name


def cached(path: Path, make: Callable[[], None], read: Callable[[], T]) -> T:
    """What `read` returns, after `make` has written `path` where it is missing or damaged.

    One process makes it, a second waits and then reads. `read` raises FileNotFoundError and
    DamagedFileError; a damaged file is named in a warning.
    """
    try:
        return read()
    except (FileNotFoundError, DamagedFileError):
        pass
    with locked(path):
        try:  # another process may have made it in the meantime
            return read()
        except FileNotFoundError:
            pass
        except DamagedFileError as error:
            warnings.warn(f"{error.path} is damaged and is made again", stacklevel=2)
            error.path.unlink()
        make()
        return read()


def cached_bytes(name: str, make: Callable[[], bytes]) -> bytes:
    """The bytes that `make` returns, made on the first call only and kept in the faces cache."""
    path = cache_path(name)
    return cached(path, lambda: write_sealed(path, make()), lambda: read_sealed(path))


def map_header(count: int) -> bytes:
    """What a `.npy` file of `count` images (112, 112, 3) uint8 begins with."""
    header = io.BytesIO()
    fields = {"descr": "|u1", "fortran_order": False, "shape": (count, *SHAPE)}
    np.lib.format.write_array_header_1_0(header, fields)
    return header.getvalue()


def write_map(path: Path, count: int, images: Iterable[np.ndarray]) -> None:
    """Write `count` images (112, 112, 3) uint8 and their SHA-256 to a `.npy` file, one at a time.

    Plain writing, since a full disk then raises OSError; under a writable memory map it would
    end the process.
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        sha = hashlib.sha256()
        for part in (map_header(count), *(image.tobytes() for image in images)):
            file.write(part)
            sha.update(part)
        seal(file, sha)


def open_map(path: Path, progress: bool | None = None) -> np.ndarray:
    """The images of a sealed `.npy` file as a read-only memory map.

    Hashed whole on the first call of a process, with a progress bar; not again while the file has
    the same size and time. Raises DamagedFileError where a byte of it differs.
    """
    stat = path.stat()
    known = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
    if known not in _verified:
        _verify(path, stat.st_size, progress)
        _verified.add(known)
    return np.load(path, mmap_mode="r")  # numpy passes over what follows the images


def _verify(path: Path, size: int, progress: bool | None) -> None:
    """`read_sealed` for a file larger than memory."""
    sha, left = hashlib.sha256(), size - len(SEAL) - 64
    progress = False if left < QUICK else progress
    with open(path, "rb") as file, naming(path):
        for _ in bar(range(0, max(left, 0), BLOCK), f"checking {path.name}", progress, "block"):
            sha.update(file.read(min(BLOCK, left)))
            left -= BLOCK
        tail = file.read()
    check_seal(path, tail, sha.hexdigest())
