"""Loading batches before the step that needs them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
R = TypeVar("R")
QUEUED = 2  # batches loaded before they are needed


def prefetch(jobs: Iterable[T], load: Callable[[T], R]) -> Iterator[R]:
    """`load` of each job, in order, in a background thread, at most `QUEUED` results in advance.

    The jobs themselves are iterated in the caller's thread.
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(1, "batches") as thread:
        try:
            for job in jobs:
                waiting.append(thread.submit(load, job))
                if len(waiting) > QUEUED:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def pinned(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` in pinned memory if `device` is a GPU, for an asynchronous copy."""
    return tensor.pin_memory() if device.type == "cuda" and not tensor.is_cuda else tensor
