"""A run's state in one file: written atomically, read without unpickling code."""

import io
import re
import time
import warnings
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from cure_core.files import SEAL, DamagedFileError, atomic_path, read_sealed, write_sealed
from cure_core.runtime.distributed import on_rank_zero, rank

T = TypeVar("T")
KEPT = 2  # generations on disk: the newest, and the one before it in case that is damaged
ABANDONED = 3600.0  # seconds after which an unfinished file belongs to a killed process


class DamagedCheckpointError(ValueError):
    """No generation of a checkpoint can be read."""


def restarting(path: Path, run: Callable[[], T]) -> T:
    """The result of `run`, from scratch with a warning if the checkpoint at `path` is damaged.

    For checkpoints in the cache, whose path no user has chosen.
    """
    try:
        return run()
    except DamagedCheckpointError as error:
        warnings.warn(f"{error}; starting from scratch", stacklevel=2)
        Checkpoint(path, {}).discard()
        return run()


class Checkpoint:
    """The file that a run resumes from; without a path it does nothing.

    `identity` says which run it belongs to. `device`'s random generator is saved with the CPU's.
    """

    def __init__(
        self,
        path: str | Path | None,
        identity: Mapping[str, Any],
        device: torch.device | None = None,
    ) -> None:
        self.path, self.identity = None if path is None else Path(path), dict(identity)
        self._gpu = device if device is not None and device.type == "cuda" else None

    def load(self) -> dict[str, Any] | None:
        """The state saved for this run, or None if there is none; read by the first process.

        If the newest file is damaged, the one before it is taken, with a warning. Sets torch's
        global generators to their saved states.
        Raises ValueError if the file belongs to another run, naming what differs, or if none is
        readable; OSError if the folder cannot be created.
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
        torch.set_rng_state(saved["generator"])
        if "cuda_generator" in saved and self._gpu is not None:
            torch.cuda.set_rng_state(saved["cuda_generator"], self._gpu)
        return saved["state"]

    def save(self, state: dict[str, Any]) -> None:
        """Write `state` (tensors and plain values), in the first process.

        Raises OSError if the disk is full, and keeps the earlier files.
        """
        if self.path is not None and rank() == 0:
            content: dict[str, Any] = {"identity": self.identity, "state": state}
            content["generator"] = torch.get_rng_state()  # an encoder may have dropout
            if self._gpu is not None:
                content["cuda_generator"] = torch.cuda.get_rng_state(self._gpu)
            _save(self.path, content)

    def views(self, make: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """What `make` returns, from a file next to the checkpoint if this run has written it.

        For the teacher's embeddings, which take minutes to make and are too large for every save.
        A damaged file is made again, with a warning.
        """
        if self.path is None:
            return make()
        file = _views_file(self.path)
        saved = on_rank_zero(lambda: _load_views(file, self.identity))
        if saved is not None:
            return saved[0], saved[1]
        views = make()
        if rank() == 0:
            content = {"identity": self.identity, "views": [view.cpu() for view in views]}
            write_sealed(file, _packed(content))
        return views

    def discard_views(self) -> None:
        """Remove the file of the views, which a finished run no longer needs."""
        if self.path is not None and rank() == 0:
            _views_file(self.path).unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove all files of the checkpoint."""
        if self.path is not None and rank() == 0:
            for path in (*_generations(self.path), _views_file(self.path)):
                path.unlink(missing_ok=True)


def _generations(path: Path) -> list[Path]:
    """The file and its predecessors, newest first."""
    return [path, *(path.with_name(f"{path.name}.{age}") for age in range(1, KEPT))]


def _views_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.views")


def _packed(content: object) -> bytes:
    buffer = io.BytesIO()  # torch's own writer would report a full disk as a RuntimeError
    torch.save(content, buffer)
    return buffer.getvalue()


def _unpacked(path: Path, *keys: str) -> dict[str, Any]:
    """The content of a sealed file, which has `keys`. Raises ValueError or OSError naming it."""
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
    """Write a state; other processes may save to `path` at the same time.

    A kill at any moment leaves a complete state at `path` or at the name of the generation before.
    """
    with atomic_path(path) as temporary:
        write_sealed(temporary, _packed(content))
        for newer, older in reversed(list(pairwise(_generations(path)))):
            with suppress(FileNotFoundError):  # the first save, or just moved by another process
                newer.replace(older)


def _prepare(path: Path) -> None:
    """Create the folder and remove unfinished files of killed processes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = [
        re.compile(rf"\.\.?{re.escape(p.stem)}(-\w{{8}}){{1,2}}{re.escape(p.suffix)}")
        for p in (path, _views_file(path))
    ]
    for file in path.parent.glob(".*"):
        if any(pattern.fullmatch(file.name) for pattern in unfinished):
            with suppress(FileNotFoundError):
                if time.time() - file.stat().st_mtime > ABANDONED:
                    file.unlink()


def _load(path: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    errors: list[Exception] = []
    for candidate in filter(Path.exists, _generations(path)):
        try:
            saved = _unpacked(candidate, "identity", "state", "generator")
        except (ValueError, OSError) as error:
            errors.append(error)
            continue
        _compare(candidate, saved["identity"], identity)
        if errors:
            warnings.warn(f"{_joined(errors)}; resuming from {candidate}", stacklevel=5)
            if not isinstance(errors[0], OSError):
                path.unlink(missing_ok=True)  # else the next save would keep it as the one before
        return saved
    if errors:
        damaged = not any(isinstance(error, OSError) for error in errors)
        raise (DamagedCheckpointError if damaged else ValueError)(_joined(errors))
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


def _compare(path: Path, saved: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    differing = [
        f"{name}: {saved.get(name)!r} there, {identity.get(name)!r} now"
        for name in sorted(saved.keys() | identity.keys())
        if saved.get(name) != identity.get(name)
    ]
    if differing:
        raise ValueError(
            f"{path} belongs to another run ({'; '.join(differing)}); "
            "pass another checkpoint path, or move it away to start from scratch"
        )
