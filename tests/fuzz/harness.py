"""Seeded fuzzing of readers: damaged copies of a sound file, and what a reader may do with them.

    target = Target("manifest", path, lambda: manifests.read(path))
    counts = fuzz(target, 1000)
    assert not counts.faults, counts

A reader may return what the sound file holds, return another valid value where no digest is there
to notice, or raise a documented error whose text names the file. All else is a fault.
"""

import os
import random
import signal
import sys
import threading
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DOCUMENTED = (ValueError, FileNotFoundError)
FAULTS = ("undocumented error", "file not named", "silently other", "hang")
PATIENCE = 20.0  # seconds after which a reader counts as hanging
EDGES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\n", b"\r", b"\t", b" ", b"-", b"0", b"9", b"e", b":")
LONGER = (b"\xef\xbb\xbf", b"\xff\xff\xff\xff", b"\0\0\0\0", b"nan", b"1e999", b"-1", b"true")


class Hang(BaseException):
    """A reader took longer than `PATIENCE`; no `except Exception` catches it."""


@dataclass(frozen=True)
class Target:
    """A reader and the file that is damaged.

    `read` returns what equals itself when the same content is read twice. `detects_damage`: a
    digest covers the file, so no damaged copy may be read as another value.
    """

    name: str
    path: Path
    read: Callable[[], Any]
    documented: tuple[type[BaseException], ...] = DOCUMENTED
    detects_damage: bool = False
    reset: Callable[[], None] = lambda: None  # before each input, to empty caches for example


@dataclass
class Counts:
    """How many inputs ended how, and the first input of each kind of fault."""

    name: str
    outcomes: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    @property
    def faults(self) -> int:
        """How many inputs broke the contract."""
        return sum(self.outcomes[fault] for fault in FAULTS)

    def __str__(self) -> str:
        counted = ", ".join(f"{number:,} {how}" for how, number in self.outcomes.most_common())
        shown = "".join(f"\n  {how}: {what}" for how, what in self.first.items())
        return f"{self.name}: {self.outcomes.total():,} inputs: {counted}{shown}"


def mutations(content: bytes, rng: random.Random) -> Iterator[bytes]:
    """Damaged copies of `content`, without end: one to three changes each, never the original."""
    while True:
        damaged = content
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            damaged = _mutate(damaged, rng)
        if damaged != content:
            yield damaged


def _mutate(content: bytes, rng: random.Random) -> bytes:
    at = rng.randint(0, len(content))
    until = min(len(content), at + rng.choice((1, 1, 2, 4, 16, 64, len(content) // 4 + 1)))
    kind = rng.choice(("flip", "flip", "byte", "cut", "drop", "insert", "repeat", "swap", "line"))
    if kind == "flip" and at < len(content):
        flipped = content[at] ^ 1 << rng.randrange(8)
        return content[:at] + bytes([flipped]) + content[at + 1 :]
    if kind == "byte":
        return content[:at] + rng.choice(EDGES) + content[at + 1 :]
    if kind == "cut":
        return content[:at] if rng.random() < 0.8 else content[at:]
    if kind == "drop":
        return content[:at] + content[until:]
    if kind == "repeat":
        return content[:until] + content[at:]
    if kind == "swap":
        end = min(len(content), until + (until - at))
        return content[:at] + content[until:end] + content[at:until] + content[end:]
    if kind == "line":
        lines = content.splitlines(keepends=True)
        rng.shuffle(lines)
        return b"".join(lines[: rng.randint(0, len(lines))])
    return content[:at] + rng.choice((*EDGES, *LONGER, rng.randbytes(4))) + content[at:]


def check(target: Target, expected: Any) -> tuple[str, str]:
    """How reading `target.path` as it now is ends, and the detail where that is a fault."""
    try:
        with warnings.catch_warnings(), _patience():
            warnings.simplefilter("ignore")
            value = target.read()
    except target.documented as error:
        if target.path.name in str(error):
            return "refused", ""
        return "file not named", f"{type(error).__name__}: {error}"
    except Hang:
        return "hang", f"longer than {PATIENCE} s"
    except Exception as error:
        return "undocumented error", f"{type(error).__name__}: {error}"
    if value == expected:
        return "same", ""
    return ("silently other", f"{value!r:.200}") if target.detects_damage else ("other", "")


def fuzz(target: Target, count: int, seed: int = 0) -> Counts:
    """Damage the target's file `count` times, read each copy, and put the sound file back.

    The inputs depend on the file's content, the target's name and `seed` alone. Raises ValueError
    where the sound file is not read twice as the same value.
    """
    sound = target.path.read_bytes()
    target.reset()
    expected = target.read()
    target.reset()
    if target.read() != expected:
        raise ValueError(f"{target.name}: the sound file is read as another value each time")
    counts = Counts(target.name)
    damaged = mutations(sound, random.Random(zlib.crc32(target.name.encode()) + seed))
    try:
        for _, content in zip(range(count), damaged, strict=False):
            target.reset()
            target.path.write_bytes(content)
            outcome, detail = check(target, expected)
            counts.outcomes[outcome] += 1
            if outcome in FAULTS:
                counts.first.setdefault(outcome, f"{detail} on {content!r:.300}")
    finally:
        target.path.write_bytes(sound)
    print(counts, file=sys.stderr)
    return counts


def assert_no_faults(target: Target, count: int, monkeypatch: Any) -> None:
    """`fuzz`, without waiting for the disk: no power cut is tested here."""
    monkeypatch.setattr(os, "fsync", lambda number: None)
    counts = fuzz(target, count)
    assert not counts.faults, counts


@contextmanager
def _patience() -> Iterator[None]:
    """Raise Hang in the body after `PATIENCE` seconds, where the platform has such a timer."""
    if not hasattr(signal, "setitimer") or threading.current_thread() != threading.main_thread():
        yield
        return

    def expire(number: int, frame: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
