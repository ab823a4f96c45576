"""Progress bars, hidden where there is no terminal."""

import os
from collections.abc import Iterable, Iterator
from threading import RLock
from typing import Any, TypeVar

from cure_core.runtime.distributed import rank

try:
    from tqdm.auto import tqdm
except ImportError:
    tqdm = None  # type: ignore[assignment, misc]
else:  # a forked process that is killed would keep tqdm's default lock
    tqdm.set_lock(RLock())

T = TypeVar("T")


def bar(items: Iterable[T], label: str, show: bool | None = None, unit: str = "it") -> Any:
    """`items` with a progress bar: shown, hidden, or (None) shown only on a terminal outside CI.

    As a context manager it has `update`. Nothing is shown without tqdm.
    """
    hidden = not show if show is not None else (True if os.environ.get("CI") else None)
    hidden = True if rank() else hidden  # only the first process reports
    if tqdm is None:
        return NoBar(items)
    return tqdm(items, desc=label, disable=hidden, leave=False, unit=unit)


class NoBar:
    """A bar that shows nothing, for when tqdm is not installed."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __enter__(self) -> "NoBar":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def update(self, count: int = 1) -> None:
        """Do nothing."""
