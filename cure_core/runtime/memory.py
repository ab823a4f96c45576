"""Free memory of a device, and of this process's allocator."""

import ctypes
import sys
from pathlib import Path

import torch


def trim() -> None:
    """Return freed memory to the system, which then counts it as available (glibc only)."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is not None and hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def available(device: torch.device) -> float | None:
    """Bytes that this process can still allocate on a device; None if that is unknown."""
    if device.type == "cuda":
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + idle
    if device.type != "cpu":
        return None
    try:
        import psutil
    except ImportError:  # an optional dependency
        return None
    trim()  # memory that this process has freed is available too
    return min(psutil.virtual_memory().available, _cgroup_left())


def _cgroup_left(group: Path = Path("/sys/fs/cgroup")) -> float:
    """Bytes left of a container's limit (Linux, cgroups v2), page cache excluded."""
    try:
        limit = (group / "memory.max").read_text(encoding="utf-8").strip()
        used = int((group / "memory.current").read_text(encoding="utf-8"))
        rows = (group / "memory.stat").read_text(encoding="utf-8").splitlines()
        cached = int(dict(map(str.split, rows))["inactive_file"])
    except (OSError, KeyError, ValueError):
        return float("inf")
    return float("inf") if limit == "max" else int(limit) - used + cached
