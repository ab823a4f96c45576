"""Torch's global generators, from which dropout draws: seeded, and restored afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def forked(device: torch.device | None = None) -> Iterator[None]:
    """A context that restores the CPU's and `device`'s generators at its end."""
    gpus = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(gpus):
        yield


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """As `forked`, with both generators started from `seed`.

    Other devices' generators stay as they are, unlike with `torch.manual_seed`.
    """
    with forked(device):
        torch.default_generator.manual_seed(seed)
        if device is not None and device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
