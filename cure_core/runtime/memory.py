"""Memory: what a run needs, known before it begins."""

import copy
import ctypes
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from cure_core.runtime.distributed import world_size
from cure_core.runtime.precision import autocast
from cure_core.runtime.randomness import forked

MARGIN = 1.5  # peak over what autograd keeps: 1.27 to 1.43 measured on a CPU; our choice


def trim() -> None:
    """Give freed memory back to the system, which then counts it as available; glibc alone."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is not None and hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


@dataclass(frozen=True)
class Footprint:
    """Bytes that training an encoder takes: its weights, a step whatever its size, and an image.

    `dim` is the length of an embedding.
    """

    weights: int
    step: float
    image: float
    dim: int


def footprint(encoder: nn.Module, device: torch.device, amp: bool | str, train: bool) -> Footprint:
    """Measured by what autograd keeps in forward passes of two and of four images."""
    probe = copy.deepcopy(encoder).to(device).train(train)
    held = {t.untyped_storage().data_ptr() for t in (*probe.parameters(), *probe.buffers())}
    kept, dim = [], 0
    for count in (2, 4):
        sizes: dict[int, int] = {}

        def keep(tensor: Tensor, sizes: dict[int, int] = sizes) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in held:
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        images = torch.zeros(count, 3, 112, 112, dtype=torch.uint8, device=device)
        images = images.to(memory_format=torch.channels_last)
        with (
            forked(device),
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        ):
            with autocast(amp, device):
                embeddings = probe(images)
            dim = embeddings.shape[1]
            kept.append(sum(sizes.values()))
            del embeddings
    each = (kept[1] - kept[0]) / 2
    weights = sum(t.numel() * t.element_size() for t in encoder.state_dict().values())
    return Footprint(weights, max(0.0, kept[0] - 2 * each), each, dim)


def check_memory(
    batch: Mapping[str, tuple[int, ...] | int],
    image: float,
    fixed: float,
    device: torch.device,
    host: float = 0.0,
) -> None:
    """Refuse a run that cannot fit before it begins.

    `batch` names one setting, the images a step holds: one number, or parts. `image` is bytes an
    image of it, `fixed` those whatever its size, both on `device`; `host` those beside a GPU.
    Raises MemoryError that names the largest batch that would fit.
    """
    ((name, sizes),) = batch.items()
    parts = sizes if isinstance(sizes, tuple) else (sizes,)
    needs = fixed + MARGIN * image * sum(parts) / world_size()
    free = available(device)
    if free is not None and needs > free:
        fits = int((free - fixed) / (MARGIN * image) * world_size())
        smaller = tuple(part * fits // sum(parts) for part in parts)
        remedy = "no batch would fit: take a smaller encoder or a larger machine"
        if min(smaller) > 0:
            remedy = f"{name}={smaller if len(smaller) > 1 else smaller[0]} would fit"
        raise MemoryError(
            f"{name}={sizes} needs about {_gb(needs)} of memory on {device}, of which "
            f"{_gb(free)} are free; {remedy}"
        )
    beside = available(torch.device("cpu")) if device.type != "cpu" else None
    if beside is not None and host > beside:
        raise MemoryError(
            f"the run needs about {_gb(host)} of the machine's memory beside {device}, of which "
            f"{_gb(beside)} are free; end what else runs, or take a smaller encoder"
        )


def available(device: torch.device) -> float | None:
    """Bytes that this process can still take on a device; None where that cannot be known."""
    if device.type == "cuda":
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + idle
    if device.type != "cpu":
        return None
    try:
        import psutil
    except ImportError:  # the loop runs on a machine that has little beside torch
        return None
    trim()  # what this process has freed is available too
    return min(psutil.virtual_memory().available, _group_left())


def _group_left(group: Path = Path("/sys/fs/cgroup")) -> float:
    """What is left of a container's limit (Linux, cgroups v2); files it has read do not count."""
    try:
        limit = (group / "memory.max").read_text(encoding="utf-8").strip()
        used = int((group / "memory.current").read_text(encoding="utf-8"))
        rows = (group / "memory.stat").read_text(encoding="utf-8").splitlines()
        cached = int(dict(map(str.split, rows))["inactive_file"])
    except (OSError, KeyError, ValueError):
        return float("inf")
    return float("inf") if limit == "max" else int(limit) - used + cached


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
