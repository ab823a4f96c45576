"""Starting processes that share the work, one per GPU, with Hugging Face Accelerate."""

import os
import signal
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist


def join() -> None:
    """Join the process group that `accelerate launch` or a notebook launcher started, if any."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not dist.is_initialized():
        from accelerate import PartialState

        # It also makes "cuda" mean this process's GPU. While the first process decodes a large set
        # alone, the others wait longer than the default timeout.
        backend = {"backend": "cuda:nccl,cpu:gloo"} if torch.cuda.is_available() else {}
        PartialState(timeout=timedelta(hours=3), **backend)


def launch(work: Callable[..., None], arguments: tuple[Any, ...], processes: int) -> None:
    """Run `work` in several new processes, one per GPU; results have to be left in files.

    The processes are forks. Raises RuntimeError if this process has used CUDA.
    """
    from accelerate import notebook_launcher

    if torch.cuda.is_initialized():
        raise RuntimeError(
            f"processes={processes} have to be started before anything uses CUDA; restart the "
            "kernel and run the cells in order, or use `accelerate launch -m cure_study unlearn`"
        )
    with socket.socket() as free:  # a free port, so that two runs on one machine do not collide
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        notebook_launcher(_joined, (work, arguments), num_processes=processes, use_port=port)
    finally:  # torch's launcher leaves its handlers in place
        for number, handler in before.items():
            signal.signal(number, handler)


def _joined(work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    join()
    work(*arguments)
