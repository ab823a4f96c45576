"""Where data and derived files are stored, and the locks that guard them."""

import os
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path, user_data_path


def data_root() -> Path:
    """The folder that holds `data/` and `models/`; only read (`CURE_DATA_ROOT`)."""
    return Path(os.environ.get("CURE_DATA_ROOT") or user_data_path("cure")).expanduser()


def cache_root() -> Path:
    """The folder for everything derived, by content hash (`CURE_CACHE`)."""
    return Path(os.environ.get("CURE_CACHE") or user_cache_path("cure")).expanduser()


def locked(path: str | Path) -> FileLock:
    """The lock of a cache entry or table: hold it while `path` is looked up, made and written.

    Other processes and threads wait; the operating system frees the lock of a process that ended.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(f".{path.name}.lock"))
