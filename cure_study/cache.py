"""Cache entries shared by several processes: each is made once, and again if it is damaged."""

import errno
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from filelock import BaseFileLock, Timeout

from cure_core.files import DamagedFileError
from cure_core.runtime.distributed import on_rank_zero
from cure_study.paths import locked

T = TypeVar("T")
QUIET = 3.0  # seconds of waiting for another process before a line says so
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


def cached(
    path: Path, make: Callable[[], None], read: Callable[[Path], T], *, group: bool = True
) -> T:
    """What `read` returns for the cache entry at `path`, which `make` writes if it is missing.

    One process makes the entry; others wait, then read it. `read` raises FileNotFoundError for a
    missing entry and DamagedFileError for a damaged one, which is named in a warning and made
    again. With `group`, the processes of a distributed group make the entry together, and the
    first one locks, reads, and sends the value to the others; otherwise each acts for itself.
    Raises OSError naming the path if the cache cannot be read or written.
    """
    once = on_rank_zero if group else _call
    value = once(lambda: _read(path, read))
    if value is not None:
        return value
    locks: list[BaseFileLock] = []  # empty in all processes of a group but the first
    try:
        once(lambda: locks.append(_lock(path)))
        value = once(lambda: _read(path, read, warn=True))
        if value is None:
            make()
            value = once(lambda: read(path))
        return value
    finally:
        for lock in locks:
            lock.release()


def _call(function: Callable[[], T]) -> T:
    return function()


def _read(path: Path, read: Callable[[Path], T], warn: bool = False) -> T | None:
    """What `read` returns; None if the entry is missing or damaged."""
    try:
        return read(path)
    except FileNotFoundError:
        return None
    except DamagedFileError as error:
        if warn:
            warnings.warn(f"{error}: making it again", stacklevel=4)
        return None


def _lock(path: Path) -> BaseFileLock:
    try:
        lock = locked(path)
        try:
            lock.acquire(timeout=QUIET)
        except Timeout:
            print(f"waiting for another process, which is making {path}", file=sys.stderr)
            lock.acquire()
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        reason = f"the cache cannot be written ({error.strerror}); set CURE_CACHE to another folder"
        raise OSError(error.errno, reason, str(path)) from error
    return lock
