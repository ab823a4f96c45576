"""SIGINT and SIGTERM wait until a run has saved."""

import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

ECHO = 2.0  # seconds in which a repeated signal counts as the first: launchers pass signals on


class DeferredSignals:
    """Inside `with`, a signal to stop only sets `pending`; `deliver` lets it act.

    A second signal acts at once. A signal that is still pending at the end of the block acts then.
    `message` is printed before a signal acts. Outside the main thread nothing is deferred.
    """

    def __init__(self) -> None:
        self.pending: int | None = None
        self.message: str | None = None
        self._received_at = 0.0
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> "DeferredSignals":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore_handlers()
        if self.pending is not None:
            signal.raise_signal(self.pending)

    def deliver(self) -> None:
        """Let a pending signal act as it would have without this block."""
        number, self.pending = self.pending, None
        if number is None:
            return
        if self.message:
            print(f"{signal.Signals(number).name}: {self.message}", file=sys.stderr)
        self._restore_handlers()
        signal.raise_signal(number)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.pending is None:
            self.pending, self._received_at = number, now
        elif now - self._received_at > ECHO:
            self.deliver()

    def _restore_handlers(self) -> None:
        while self._handlers:
            signal.signal(*self._handlers.popitem())
