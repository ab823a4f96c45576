"""Atomic writes of files and folders, and digests that show whether a file is unchanged."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from hashlib import _Hash

SEAL = b"\ncure sha256 "  # before the 64 hex digits that end a sealed file


class DamagedFileError(ValueError):
    """The file at `path` is no longer what was written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is damaged ({reason}); remove it, and it is made again")
        self.path = path


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield an empty temporary file beside `path`, which becomes `path` if the body succeeds.

    Raises whatever the body raises, with nothing left behind and an earlier file at `path`
    untouched; an OSError without a file's name, of a full disk for example, names `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}")
    temporary.touch(exist_ok=False)
    try:
        with naming(path):
            yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`, which becomes `path` if the body succeeds.

    Raises whatever the body raises, with nothing left behind, and OSError if `path` exists and is
    not an empty folder.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}~{uuid.uuid4().hex[:8]}")
    temporary.mkdir()
    try:
        yield temporary
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError in the body, of a full disk for example, names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def write_sealed(path: str | Path, content: bytes) -> None:
    """Write `content`, followed by its SHA-256, atomically; flushed to the disk."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(content)
        seal(file, hashlib.sha256(content))


def seal(file: BinaryIO, sha: "_Hash") -> None:
    """End a file with the SHA-256 of its content, and flush it to the disk."""
    file.write(SEAL + sha.hexdigest().encode())
    file.flush()
    os.fsync(file.fileno())


def read_sealed(path: str | Path) -> bytes:
    """The content that `write_sealed` wrote. Raises DamagedFileError if a byte of it differs."""
    path = Path(path)
    raw = path.read_bytes()
    content, tail = raw[: -len(SEAL) - 64], raw[-len(SEAL) - 64 :]
    check_seal(path, tail, hashlib.sha256(content).hexdigest())
    return content


def check_seal(path: Path, tail: bytes, sha256: str) -> None:
    """Raise DamagedFileError if `tail` is not the end of a sealed file of that SHA-256."""
    if not tail.startswith(SEAL):
        raise DamagedFileError(path, "its end is missing")
    if tail[len(SEAL) :] != sha256.encode():
        raise DamagedFileError(path, "its content does not match its SHA-256")


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(*parts: object) -> str:
    """A short hex digest (16 characters) of strings, numbers, mappings and arrays, in order."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            sha.update(f"{part.dtype}{part.shape}".encode())
            sha.update(np.ascontiguousarray(part).data)
        else:
            sha.update(repr(part).encode())
        sha.update(b"\0")
    return sha.hexdigest()[:16]
