"""A run's state as one file: written whole, read without unpickling code, and in time."""

import io
import re
import signal
import sys
import threading
import time
import warnings
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import torch
from torch import Tensor

from cure_core.files import SEAL, DamagedFileError, atomic_path, read_sealed, write_sealed
from cure_core.runtime.distributed import on_rank_zero, rank

T = TypeVar("T")
EVERY = 60.0  # seconds of work that a run may lose
ECHO = 2.0  # seconds in which a second signal is the first: a launcher passes on what all have got
KEPT = 2  # states on disk: the newest, and the one before it in case the disk has damaged that
ABANDONED = 3600.0  # seconds after which an unfinished file is that of a process that was killed


class DamagedCheckpointError(ValueError):
    """No generation of a checkpoint can be read."""


def restarting(path: Path, run: Callable[[], T]) -> T:
    """What `run` returns; where the checkpoint at `path` is damaged, from scratch with a warning.

    For checkpoints of the cache, which no user has named.
    """
    try:
        return run()
    except DamagedCheckpointError as error:
        warnings.warn(f"{error}; starting from scratch", stacklevel=2)
        Checkpoint(path, {}).discard()
        return run()


class Checkpoint:
    """The file that a run goes on from; without a path it does nothing.

    Inside `with`, SIGINT and SIGTERM wait for the end of a step: `due` is then true, and `save`
    lets them act after it has written. Whatever else ends the run is told where it can go on from.
    `device` is that whose generator is saved beside the CPU's.
    """

    def __init__(
        self,
        path: str | Path | None,
        identity: Mapping[str, Any],
        device: torch.device | None = None,
    ) -> None:
        self.path, self.identity = None if path is None else Path(path), dict(identity)
        self._gpu = device if device is not None and device.type == "cuda" else None
        self._saved: float | None = None
        self._looked = time.monotonic()
        self._signal: int | None = None
        self._told_at = 0.0
        self._handlers: dict[int, Any] = {}

    def load(self) -> dict[str, Any] | None:
        """The state saved for this run, or None where there is none; read by the first process.

        Where the newest file is damaged, the one before it is taken, with a warning. Raises
        ValueError naming what differs where they are of another run, or where none is readable,
        and OSError where the folder cannot be made. Torch's own generators are set to where they
        were.
        """
        path = self.path
        if path is None:
            return None

        def read() -> dict[str, Any] | None:
            _prepare(path)
            return _load(path, self.identity)

        saved = on_rank_zero(read)
        if saved is None:
            return None
        self._saved = time.monotonic()
        torch.set_rng_state(saved["generator"])
        if "cuda_generator" in saved and self._gpu is not None:
            torch.cuda.set_rng_state(saved["cuda_generator"], self._gpu)
        return saved["state"]

    def due(self) -> bool:
        """Whether this process is to save now: the time has come, or a signal to stop has."""
        if self.path is None or rank():
            return False
        return self._signal is not None or time.monotonic() - self._looked >= EVERY

    def views(self, make: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """What `make` returns, from a file beside the checkpoint where this run has written it.

        For what takes minutes to make and is too large to be written with every state. A damaged
        file is made again, with a warning.
        """
        if self.path is None:
            return make()
        beside = _views(self.path)
        known = on_rank_zero(lambda: _load_views(beside, self.identity))
        if known is not None:
            return tuple(known)
        made = make()
        if rank() == 0:
            content = {"identity": self.identity, "views": [view.cpu() for view in made]}
            write_sealed(beside, _packed(content))
        return made

    def discard_views(self) -> None:
        """Remove the file of the views: a run that is done needs them no more."""
        if self.path is not None and rank() == 0:
            _views(self.path).unlink(missing_ok=True)

    def save(self, state: dict[str, Any]) -> None:
        """Write `state` (tensors and plain values), in the first process.

        Raises OSError where the disk is full, and keeps the files of before.
        """
        if self.path is not None and rank() == 0:
            content: dict[str, Any] = {"identity": self.identity, "state": state}
            content["generator"] = torch.get_rng_state()  # an encoder may have dropout
            if self._gpu is not None:
                content["cuda_generator"] = torch.cuda.get_rng_state(self._gpu)
            _save(self.path, content)
            self._saved = self._looked = time.monotonic()
            self._stop()

    def discard(self) -> None:
        """Remove the files: what they were for is done."""
        if self.path is not None and rank() == 0:
            for path in (*_generations(self.path), _views(self.path)):
                path.unlink(missing_ok=True)

    def __enter__(self) -> "Checkpoint":
        if self.path is not None and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._told)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._release()
        if error is not None and self._saved is not None:
            ago = time.monotonic() - self._saved
            error.add_note(f"all but the last {ago:.0f} s is in {self.path}; run it again to go on")
        if self._signal is not None:  # it came after the last save
            signal.raise_signal(self._signal)

    def _told(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._signal is None:
            self._signal, self._told_at = number, now
        elif now - self._told_at > ECHO:  # the second time: at once
            self._stop()

    def _stop(self) -> None:
        """Let the signal do what it would have done without us."""
        number, self._signal = self._signal, None
        if number is not None:
            if self._saved is not None:
                name = signal.Signals(number).name
                print(f"{name}: saved in {self.path}; run it again to go on", file=sys.stderr)
            self._release()
            signal.raise_signal(number)

    def _release(self) -> None:
        while self._handlers:
            signal.signal(*self._handlers.popitem())


def _generations(path: Path) -> list[Path]:
    """The file and its predecessors, newest first."""
    return [path, *(path.with_name(f"{path.name}.{age}") for age in range(1, KEPT))]


def _views(path: Path) -> Path:
    return path.with_name(f"{path.name}.views")


def _packed(content: object) -> bytes:
    buffer = io.BytesIO()  # torch's own writer would report a full disk as a RuntimeError
    torch.save(content, buffer)
    return buffer.getvalue()


def _unpacked(path: Path, *keys: str) -> dict[str, Any]:
    """What a sealed file holds, `keys` among it. Raises ValueError or OSError naming the file."""
    try:
        content = read_sealed(path)
    except DamagedFileError as error:
        if _is_archive(path) and SEAL not in path.read_bytes()[-200:]:
            raise ValueError(
                f"{path} has no digest (it is from an earlier version, or its end is missing); "
                "move it away to start from scratch"
            ) from error
        raise
    try:
        saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        _ = [saved[key] for key in keys]
        return saved
    except Exception as error:
        raise ValueError(
            f"{path} is not a checkpoint ({error}); move it away to start from scratch"
        ) from error


def _is_archive(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # a damaged end of the archive
        return False


def _save(path: Path, content: dict[str, Any]) -> None:
    """Write a state; another process that saves to `path` at the same time does no harm.

    A kill at any moment leaves a whole state at `path`, or at the name of the one before.
    """
    with atomic_path(path) as temporary:
        write_sealed(temporary, _packed(content))
        for newer, older in reversed(list(pairwise(_generations(path)))):
            with suppress(FileNotFoundError):  # none yet, or another process has just moved it
                newer.replace(older)


def _prepare(path: Path) -> None:
    """Make the folder, and remove what writers that were killed have left in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = [
        re.compile(rf"\.\.?{re.escape(p.stem)}(-\w{{8}}){{1,2}}{re.escape(p.suffix)}")
        for p in (path, _views(path))
    ]
    for file in path.parent.glob(".*"):
        if any(pattern.fullmatch(file.name) for pattern in unfinished):
            with suppress(FileNotFoundError):
                if time.time() - file.stat().st_mtime > ABANDONED:
                    file.unlink()


def _load(path: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    troubles: list[Exception] = []
    for candidate in filter(Path.exists, _generations(path)):
        try:
            saved = _unpacked(candidate, "identity", "state", "generator")
        except (ValueError, OSError) as error:
            troubles.append(error)
            continue
        _compare(candidate, saved["identity"], identity)
        if troubles:
            warnings.warn(f"{_joined(troubles)}; going on from {candidate}", stacklevel=5)
            if not isinstance(troubles[0], OSError):
                path.unlink(missing_ok=True)  # else the next save would keep it as the one before
        return saved
    if troubles:
        damaged = not any(isinstance(error, OSError) for error in troubles)
        raise (DamagedCheckpointError if damaged else ValueError)(_joined(troubles))
    return None


def _load_views(path: Path, identity: Mapping[str, Any]) -> list[Tensor] | None:
    if not path.exists():
        return None
    try:
        saved = _unpacked(path, "identity", "views")
    except FileNotFoundError:  # another run on this checkpoint has just ended
        return None
    except ValueError as error:
        warnings.warn(f"{error}; the teacher's embeddings are computed again", stacklevel=5)
        return None
    return saved["views"] if saved["identity"] == dict(identity) else None


def _joined(errors: list[Exception]) -> str:
    return "; ".join(map(str, errors))


def _compare(path: Path, known: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    differing = [
        f"{name}: {known.get(name)!r} there, {identity.get(name)!r} now"
        for name in sorted(known.keys() | identity.keys())
        if known.get(name) != identity.get(name)
    ]
    if differing:
        raise ValueError(
            f"{path} belongs to another run ({'; '.join(differing)}); "
            "pass another checkpoint path, or move it away to start from scratch"
        )
