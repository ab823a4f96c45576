"""A run's state as one file, written whole, read without unpickling code."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cure_core.files import atomic_path


def save_checkpoint(path: str | Path, identity: Mapping[str, Any], state: dict[str, Any]) -> None:
    """Write `state` (tensors and plain values) with the `identity` of the run it belongs to.

    Raises OSError where the disk is full, and keeps the file of before.
    """
    buffer = io.BytesIO()  # torch's own writer would report a full disk as a RuntimeError
    torch.save({"identity": dict(identity), "state": state}, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(path: str | Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """The state saved for this run, or None where there is none.

    Raises ValueError naming what differs where the file is of another run, or is not readable.
    """
    path = Path(path)
    if not path.exists():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        known, state = saved["identity"], saved["state"]
    except Exception as error:
        raise ValueError(
            f"{path} is no readable checkpoint ({error}); move it away to start anew"
        ) from error
    differing = [
        f"{name}: {known.get(name)!r} there, {identity.get(name)!r} now"
        for name in sorted(known.keys() | identity.keys())
        if known.get(name) != identity.get(name)
    ]
    if differing:
        raise ValueError(
            f"{path} belongs to another run ({'; '.join(differing)}); "
            "pass another checkpoint path, or move it away to start anew"
        )
    return state
