"""Random batches, prefetched in a thread and mirrored on the device."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from cure_core.config import CureConfig
from cure_core.encoders.images import Images, mirrored, take
from cure_core.runtime.distributed import shard
from cure_core.runtime.prefetch import pinned, prefetch


def flipped(images: Tensor, flip: Tensor) -> Tensor:
    """Images (B, 3, H, W), mirrored where `flip` (B,) bool is true."""
    return torch.where(flip[:, None, None, None], mirrored(images), images)


def draw_batches(
    sets: tuple[Images, Images],
    views: Sequence[Tensor],
    config: CureConfig,
    generator: torch.Generator,
    device: torch.device,
    skip: int = 0,
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """One pass over the forget set: images, forget first, and the fields of their `Batch`.

    `views`: the teacher's embeddings of both sets and of their mirror images, each (2, N, D).
    The first `skip` batches are drawn but not read. In a process group each process gets its shard
    of the images, and all of the fields.
    """
    size, retained = (min(b, len(s)) for b, s in zip(config.batch_size, sets, strict=True))

    def draw() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for i, forget in enumerate(torch.randperm(len(sets[0]), generator=generator).split(size)):
            retain = torch.randint(len(sets[1]), (retained,), generator=generator)
            flip = torch.rand(len(forget) + retained, generator=generator) < 0.5
            if i >= skip:
                yield forget, retain, flip

    def read(batch: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, ...]:
        forget, retain, flip = batch
        rows = shard(len(flip))
        first, last = (max(0, row - len(forget)) for row in (rows.start, rows.stop))
        parts = ((sets[0], forget[rows]), (sets[1], retain[first:last]))
        images = torch.cat([take(images, index.numpy()) for images, index in parts if len(index)])
        return tuple(pinned(tensor, device) for tensor in (images, flip, forget, retain))

    for batch in prefetch(draw(), read):
        images, flip, forget_index, retain_index = (t.to(device, non_blocking=True) for t in batch)
        sizes = len(forget_index), len(retain_index)
        mirrored_forget, mirrored_retain = flip.long().split(sizes)
        yield (
            flipped(images, flip[shard(len(flip))]),
            {
                "teacher_forget": views[0][mirrored_forget, forget_index],
                "teacher_retain": views[1][mirrored_retain, retain_index],
                "forget_index": forget_index,
                "retain_index": retain_index,
                "forget_view": mirrored_forget,
                "retain_view": mirrored_retain,
            },
        )


def draw_labelled(
    images: Images,
    codes: np.ndarray,
    size: int,
    generator: torch.Generator,
    device: torch.device,
    skip: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One pass: a shard of each batch, half of it mirrored, and the people of the whole batch.

    The first `skip` batches are drawn but not read.
    """
    order = torch.randperm(len(codes), generator=generator).numpy()
    batches = [order[first : first + size] for first in range(0, len(codes), size)]
    if len(batches) > 1 and len(batches[-1]) == 1:  # batch norm cannot train on one sample
        batches[-2:] = [np.concatenate(batches[-2:])]

    def draw() -> Iterator[tuple[np.ndarray, Tensor]]:
        for i, index in enumerate(batches):
            flip = torch.rand(len(index), generator=generator) < 0.5
            if i >= skip:
                yield index, flip

    def read(batch: tuple[np.ndarray, Tensor]) -> list[Tensor]:
        index, flip = batch
        rows, people = shard(len(index)), torch.from_numpy(codes[index])
        batch_images = take(images, index[rows])
        return [pinned(tensor, device) for tensor in (batch_images, flip[rows], people)]

    for batch in prefetch(draw(), read):
        batch_images, flip, people = (tensor.to(device, non_blocking=True) for tensor in batch)
        yield flipped(batch_images, flip), people
