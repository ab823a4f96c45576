"""Cache entries that several processes share: each is made once, and made again where damaged."""

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


def cached(path: Path, make: Callable[[], None], read: Callable[[Path], T]) -> T:
    """What `read` gives of the cache entry at `path`, which `make` writes where it is missing.

    Of several processes one makes it; the others wait, then read it. `read` raises
    DamagedFileError for a damaged entry, which is named in a warning and made again. The processes
    of a group (`runtime.distributed`) make it together; the first of them locks and reads.
    Raises OSError naming the path where the cache cannot be read or written.
    """
    found = on_rank_zero(lambda: _read(path, read))
    if found is not None:
        return found
    held: list[BaseFileLock] = []  # in the first process of a group
    try:
        on_rank_zero(lambda: held.append(_lock(path)))
        found = on_rank_zero(lambda: _read(path, read, warn=True))
        if found is None:
            make()
            found = on_rank_zero(lambda: read(path))
        return found
    finally:
        for lock in held:
            lock.release()


def _read(path: Path, read: Callable[[Path], T], warn: bool = False) -> T | None:
    """What `read` gives; None where there is no entry, or a damaged one."""
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
