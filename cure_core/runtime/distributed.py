"""Data-parallel processes: each embeds its shard of a batch, all compute the loss on the whole.

The caller starts the processes and their group (`cure_study.processes`). Every process makes the
same calls in the same order. Without a process group the functions here change nothing.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


def world_size() -> int:
    """The number of processes in the group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's index in the group, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def shard(count: int, of: int | None = None) -> slice:
    """The rows of `count` that belong to this process, or to process `of`: even, and in order."""
    index = rank() if of is None else of
    return slice(count * index // world_size(), count * (index + 1) // world_size())


def gather(rows: Tensor, count: int) -> Tensor:
    """The rows of all processes in order, (count, ...), from each process's `shard`.

    Differentiable: if a DistributedDataParallel network made `rows`, the gradients of a loss that
    every process computes on the whole batch are those of a single process.
    """
    if world_size() == 1:
        return rows
    if rows.requires_grad:  # DDP averages, and the gradient is a sum
        rows.register_hook(lambda gradient: gradient * world_size())
    shards = [shard(count, of) for of in range(world_size())]
    sizes = [part.stop - part.start for part in shards]
    padded = rows.new_zeros(max(sizes), *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    parts = [part[:size] for part, size in zip(parts, sizes, strict=True)]
    parts[rank()] = rows
    return torch.cat(parts)


def all_reduce_(tensor: Tensor) -> Tensor:
    """Replace a tensor by its sum over the processes, in place."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def broadcast_(tensor: Tensor) -> Tensor:
    """Replace a tensor by the first process's, in place."""
    if world_size() > 1:
        dist.broadcast(tensor, 0)
    return tensor


def on_rank_zero(make: Callable[[], T]) -> T:
    """The result of `make` in the first process, or what it raises, in every process."""
    if world_size() == 1:
        return make()
    outcome: list[Any] = [None, None]
    if rank() == 0:
        try:
            outcome[0] = make()
        except Exception as error:
            outcome[1] = error
    dist.broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def wrap_ddp(network: nn.Module, device: torch.device, trains_statistics: bool) -> nn.Module:
    """`network` wrapped so that a backward pass leaves the mean gradient in every process.

    If batch norm is in train mode, its layers are replaced by SyncBatchNorm, which takes statistics
    over all processes' images. Raises ValueError for batch norm in train
    mode on a CPU, for which torch has no such layer.
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
    devices = None if device.type == "cpu" else [device]
    return nn.parallel.DistributedDataParallel(network, device_ids=devices, broadcast_buffers=False)
