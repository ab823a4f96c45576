"""Several processes as one: each embeds its share of a batch, all see the whole of it.

What starts them and gives each its device is Hugging Face Accelerate; here they only meet. Every
process makes the same calls in the same order. Without a group nothing here does anything.
"""

import os
import signal
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


def join() -> None:
    """Enter the group that `accelerate launch` or a notebook launcher has started, if any."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not dist.is_initialized():
        from accelerate import PartialState

        # It also makes "cuda" mean this process's own GPU. Where the first reads or decodes a large
        # set alone, the others wait longer than the default lets them.
        backend = {"backend": "cuda:nccl,cpu:gloo"} if torch.cuda.is_available() else {}
        PartialState(timeout=timedelta(hours=3), **backend)


def launch(work: Callable[..., None], arguments: tuple[Any, ...], processes: int) -> None:
    """Do `work` in several new processes, one a GPU; it has to leave its results in files.

    They are forks, so this process must not have touched CUDA. Raises RuntimeError where it has.
    """
    from accelerate import notebook_launcher

    if torch.cuda.is_initialized():
        raise RuntimeError(
            f"processes={processes} have to be started before anything uses CUDA; restart the "
            "kernel and run the cells in order, or use `accelerate launch -m cure_study unlearn`"
        )
    with socket.socket() as free:  # a port of its own: two runs on one machine do not meet
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        notebook_launcher(_joined, (work, arguments), num_processes=processes, use_port=port)
    finally:  # torch's launcher leaves its own in place
        for number, handler in before.items():
            signal.signal(number, handler)


def _joined(work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    join()
    work(*arguments)


def world_size() -> int:
    """The number of processes that work together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def shard(count: int, of: int | None = None) -> slice:
    """The part of `count` rows that is this process's (or another's): even, and in order."""
    own = rank() if of is None else of
    return slice(count * own // world_size(), count * (own + 1) // world_size())


def gather(own: Tensor, count: int) -> Tensor:
    """The rows of all processes in order, (count, ...), from each one's `shard` of them.

    Gradients flow: with DistributedDataParallel around what made `own`, those of a loss that every
    process computes on the whole are the same as in one process.
    """
    if world_size() == 1:
        return own
    if own.requires_grad:
        own.register_hook(
            lambda gradient: gradient * world_size()
        )  # DDP takes the mean, not the sum
    shares = [shard(count, of) for of in range(world_size())]
    sizes = [part.stop - part.start for part in shares]
    padded = own.new_zeros(max(sizes), *own.shape[1:])
    padded[: len(own)] = own.detach()
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    parts = [part[:size] for part, size in zip(parts, sizes, strict=True)]
    parts[rank()] = own
    return torch.cat(parts)


def all_reduce_(tensor: Tensor) -> Tensor:
    """Replace a tensor by its sum over the processes; returns it."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def broadcast_(tensor: Tensor) -> Tensor:
    """Replace what every process has computed alike by the first's, to the last bit; returns it."""
    if world_size() > 1:
        dist.broadcast(tensor, 0)
    return tensor


def on_rank_zero(make: Callable[[], T]) -> T:
    """What `make` gives in the first process, in every one; what it raises, too."""
    if world_size() == 1:
        return make()
    told: list[Any] = [None, None]
    if rank() == 0:
        try:
            told[0] = make()
        except Exception as error:
            told[1] = error
    dist.broadcast_object_list(told)
    if told[1] is not None:
        raise told[1]
    return told[0]


def wrap_ddp(network: nn.Module, device: torch.device, trains_statistics: bool) -> nn.Module:
    """`network`, so wrapped that a backward pass leaves the mean gradient in every process.

    Where batch norm takes statistics, they are taken over all processes' images, by SyncBatchNorm:
    the layers of `network` are exchanged. Raises ValueError where torch has no such layer.
    """
    if world_size() == 1:
        return network
    norms = (nn.BatchNorm1d, nn.BatchNorm2d)
    if trains_statistics and any(isinstance(module, norms) for module in network.modules()):
        if device.type == "cpu":
            raise ValueError(
                f"batch norm in train mode takes its statistics over the batch of all "
                f"{world_size()} processes, which torch can do on GPUs alone; use "
                "batchnorm='frozen', or one process"
            )
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
    own = None if device.type == "cpu" else [device]
    return nn.parallel.DistributedDataParallel(network, device_ids=own, broadcast_buffers=False)
