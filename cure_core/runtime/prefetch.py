"""Reading ahead of the step that needs it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
R = TypeVar("R")
AHEAD = 2  # batches that wait for their step


def prefetch(jobs: Iterable[T], load: Callable[[T], R]) -> Iterator[R]:
    """`load` of each job, in order, by a thread of its own that stays `AHEAD` of the reader.

    The jobs themselves are drawn in the reader's thread.
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(1, "batches") as thread:
        try:
            for job in jobs:
                waiting.append(thread.submit(load, job))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def pinned(tensor: Tensor, device: torch.device) -> Tensor:
    """Where the device can fetch it from while the processor goes on."""
    return tensor.pin_memory() if device.type == "cuda" and not tensor.is_cuda else tensor
