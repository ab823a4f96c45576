"""Progress bars that keep quiet where nobody watches."""

import os
from collections.abc import Iterable
from threading import RLock
from typing import TypeVar

from tqdm.auto import tqdm

from cure_core.parallel import rank

T = TypeVar("T")

# tqdm's own lock is shared by forked processes; one that is killed holding it would stop all.
tqdm.set_lock(RLock())


def bar(items: Iterable[T], label: str, show: bool | None = None, unit: str = "it") -> "tqdm[T]":
    """`items` with a progress bar: shown, hidden, or (None) shown only on a terminal outside CI."""
    hidden = not show if show is not None else (True if os.environ.get("CI") else None)
    hidden = True if rank() else hidden  # of several processes the first tells
    return tqdm(items, desc=label, disable=hidden, leave=False, unit=unit)
