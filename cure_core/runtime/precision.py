"""Number types: half precision with the care it needs, and no time lost on denormal numbers."""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import torch
from threadpoolctl import ThreadpoolController
from torch import nn

from cure_core.runtime.distributed import broadcast_

SMALLEST_SCALE = 2.0**-14  # below it a gradient that is not finite is no overflow of float16
TYPES = {False: None, True: torch.bfloat16, "bfloat16": torch.bfloat16, "float16": torch.float16}


def autocast(amp: bool | str, device: torch.device) -> torch.autocast:
    """A block in which convolutions and products run in the type that `amp` names."""
    dtype = TYPES[amp]
    return torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None)


@contextmanager
def flush_denormals() -> Iterator[None]:
    """A block, or a decorated function, in which floats too small for their type count as zero.

    A CPU is many times slower on them, and a student pushed hard is full of them: `neg_grad` at
    three times its rate takes a third of the time by this. Nothing happens where the CPU cannot.
    It holds on every thread with GNU OpenMP, which torch uses on Linux; with another OpenMP only
    on the calling thread.
    """
    before = torch.tensor(1e-39).mul(1).item() == 0
    _flush_denormals(True)
    try:
        yield
    finally:
        _flush_denormals(before)


def _flush_denormals(on: bool) -> None:
    """Set the mode of this thread and of its OpenMP workers.

    Torch sets the calling thread's alone. A new thread inherits the mode of the one that starts
    it: so the workers end here, and the next parallel operation starts others.
    """
    torch.set_flush_denormal(on)
    if torch.get_num_threads() == 1:  # as in a fork, which would wait for workers it does not have
        return
    for library in _gnu_openmp():
        library.omp_pause_resource_all(1)  # 1: omp_pause_soft


@cache
def _gnu_openmp() -> list[ctypes.CDLL]:
    """The GNU OpenMP libraries of this process; each ends only the calling thread's workers."""
    loaded = ThreadpoolController().lib_controllers
    libraries = [lib.dynlib for lib in loaded if lib.prefix == "libgomp"]
    return [lib for lib in libraries if hasattr(lib, "omp_pause_resource_all")]


def gradient_scaler(amp: bool | str, device: torch.device) -> torch.amp.GradScaler:
    """What keeps float16 gradients from vanishing; it does nothing for other types."""
    return torch.amp.GradScaler(device.type, enabled=TYPES[amp] == torch.float16)


def descend(
    loss: torch.Tensor,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    clip: float | None = None,
    same: Sequence[nn.Parameter] = (),
) -> torch.Tensor:
    """Backward and one step; returns the gradient's norm, before it is cut to `clip` if given.

    `same` are parameters whose gradients every process computes whole.
    Where float16 has overflowed the scaler leaves the step out and tries a smaller scale next; the
    norm is 0 then, and NaN once no scale helps. Nothing here waits for the device, but for float16.
    """
    optimiser.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()
    for parameter in same:
        if parameter.grad is not None:
            broadcast_(parameter.grad)
    scaler.unscale_(optimiser)
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    if clip is None:
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    else:
        norm = nn.utils.clip_grad_norm_(parameters, clip)
    scaler.step(optimiser)
    scaler.update()
    if not scaler.is_enabled():
        return norm
    if scaler.get_scale() < SMALLEST_SCALE:
        return torch.full_like(norm, torch.nan)
    return norm.where(norm.isfinite(), 0)
