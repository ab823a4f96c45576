"""The faces cache: decoded image sets as memory maps, each checked by its SHA-256."""

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import numpy as np

from cure_core.files import SEAL, check_seal, naming, read_sealed, seal, write_sealed
from cure_core.runtime.progress import bar
from cure_study.cache import cached
from cure_study.data.faceset import SHAPE
from cure_study.paths import cache_root

if TYPE_CHECKING:
    from hashlib import _Hash

IMAGE_BYTES = int(np.prod(SHAPE))
# 112 x 112 images written between two points from which an interrupted decoding can resume; of
# larger ones, as many as take the same memory.
CHUNK = 1024
JOB = 16  # images that a thread decodes at a time
BLOCK = 1 << 24  # bytes hashed between two steps of the progress bar
QUICK = 2**30  # files smaller than this are verified in about a second, without a progress bar

T = TypeVar("T")
_verified: set[tuple[str, int, int]] = set()  # path, size and mtime_ns of maps already hashed


def cache_path(name: str) -> Path:
    """The path of `name` in the faces cache."""
    return cache_root() / "faces" / name


def cached_bytes(name: str, make: Callable[[], bytes]) -> bytes:
    """The bytes that `make` returns, computed on the first call only and kept in the cache."""
    path = cache_path(name)
    return cached(path, lambda: write_sealed(path, make()), read_sealed, group=False)


def cached_images(
    key: str,
    count: int,
    sources: Callable[[int], Iterable[T]],
    decode: Callable[[T], np.ndarray],
    progress: bool | None = None,
    shape: tuple[int, int, int] = SHAPE,
) -> np.ndarray:
    """A read-only memory map (count, *shape) uint8 in the cache, decoded on the first call only.

    `sources(first)` yields what is to be decoded from image `first` on; `decode` runs in threads.
    If a call is interrupted, killed or runs out of disk space, the next one resumes; a second
    process waits for the first. A map's SHA-256 is checked on the first call of a process; a
    damaged map is named in a warning and decoded again. Raises what `decode` raises; a ValueError
    leaves nothing in the cache. Raises OSError naming the map if it cannot be written.
    """
    path = cache_path(f"{key}.npy")
    return cached(
        path,
        lambda: _write(
            path,
            (count, *shape),
            lambda first: _decode_chunks(
                sources(first), range(first, count, _chunk(shape)), count, decode, progress
            ),
        ),
        lambda path: _open(path, progress),
        group=False,
    )


def _open(path: Path, progress: bool | None) -> np.ndarray:
    """The images of a map; it is hashed again only if its size or time has changed."""
    stat = path.stat()
    version = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
    if version not in _verified:
        _verify(path, stat.st_size, progress)
        _verified.add(version)
    return np.load(path, mmap_mode="r")  # numpy ignores the seal after the images


def _verify(path: Path, size: int, progress: bool | None) -> None:
    """`read_sealed` for a file larger than memory."""
    sha, remaining = hashlib.sha256(), size - len(SEAL) - 64
    progress = False if remaining < QUICK else progress
    with open(path, "rb") as file, naming(path):
        blocks = range(0, max(remaining, 0), BLOCK)
        for _ in bar(blocks, f"checking {path.name}", progress, "block"):
            sha.update(file.read(min(BLOCK, remaining)))
            remaining -= BLOCK
        tail = file.read()
    check_seal(path, tail, sha.hexdigest())


def _chunk(shape: tuple[int, ...]) -> int:
    """Images of a shape in a chunk."""
    return max(1, CHUNK * IMAGE_BYTES // int(np.prod(shape)))


def _write(path: Path, shape: tuple[int, ...], chunks: Callable[[int], Iterable[bytes]]) -> None:
    """Write to `.part`; `.digests` holds the SHA-256 of the file up to each chunk's end.

    Plain writes, because on a full disk they raise OSError; a writable map would end the process.
    """
    partial, digests = path.with_suffix(".part"), path.with_suffix(".digests")
    partial.touch()
    digests.touch()
    try:
        with naming(path), open(partial, "r+b") as file, open(digests, "r+b") as digest_file:
            first, sha = _resume(file, digest_file, shape)
            for chunk in chunks(first):
                file.write(chunk)
                sha.update(chunk)
                file.flush()
                os.fsync(file.fileno())  # a chunk reaches the disk before its digest
                digest_file.write(sha.digest())
                digest_file.flush()
            seal(file, sha)
    except ValueError:  # the data are wrong: the next call would meet the same error
        partial.unlink()
        digests.unlink()
        raise
    partial.replace(path)
    digests.unlink()


def _resume(file: BinaryIO, digests: BinaryIO, shape: tuple[int, ...]) -> tuple[int, "_Hash"]:
    """How many images of a partial map match their digests, and the SHA-256 up to there.

    Truncates both files to what matches, and leaves their positions at the end.
    """
    count, size, chunk = shape[0], int(np.prod(shape[1:])), _chunk(shape[1:])
    header = _header(shape)
    sha, first = hashlib.sha256(header), 0
    matches = file.read(len(header)) == header
    while matches and first < count:
        next_sha = sha.copy()
        next_sha.update(file.read(min(chunk, count - first) * size))
        matches = digests.read(sha.digest_size) == next_sha.digest()
        if matches:
            sha, first = next_sha, min(count, first + chunk)
    file.seek(0)
    file.write(header)
    file.truncate(len(header) + first * size)
    digests.truncate(-(-first // chunk) * sha.digest_size)
    for each in (file, digests):
        each.seek(0, os.SEEK_END)
    return first, sha


def _header(shape: tuple[int, ...]) -> bytes:
    """The header of a `.npy` file of an array of a shape, uint8."""
    header = io.BytesIO()
    fields = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, fields)
    return header.getvalue()


def _decode_chunks(
    sources: Iterable[T],
    starts: range,
    count: int,
    decode: Callable[[T], np.ndarray],
    progress: bool | None,
) -> Iterator[bytes]:
    """The images from the first of `starts` to `count`, a chunk at a time."""
    remaining = iter(sources)

    def decode_some(some: list[T]) -> bytes:
        return b"".join(decode(source).tobytes() for source in some)

    with (
        ThreadPoolExecutor() as pool,
        bar(range(starts.start, count), "decoding", progress, "image") as counter,
    ):
        for start in starts:
            chunk = list(islice(remaining, min(starts.step, count - start)))
            jobs = [chunk[i : i + JOB] for i in range(0, len(chunk), JOB)]
            parts = []
            for job, part in zip(jobs, pool.map(decode_some, jobs), strict=True):
                parts.append(part)
                counter.update(len(job))
            yield b"".join(parts)
