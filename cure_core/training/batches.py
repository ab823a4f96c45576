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


def batch_sizes(sizes: tuple[int, int], config: CureConfig, shows_forget: bool) -> tuple[int, int]:
    """Images in a batch of the forget and of the retain set, which hold `sizes` images."""
    if not shows_forget:
        return 0, min(sum(config.batch_size), sizes[1])
    forget, retain = (min(pair) for pair in zip(config.batch_size, sizes, strict=True))
    return forget, retain


def epoch_steps(sizes: tuple[int, int], config: CureConfig, shows_forget: bool) -> int:
    """Steps in an epoch: a pass over the forget set or, if that is not shown, the retain set."""
    forget, retain = batch_sizes(sizes, config, shows_forget)
    return -(-sizes[0] // forget) if shows_forget else len(_starts(sizes[1], retain))


def draw_batches(
    sets: tuple[Images, Images],
    views: Sequence[Tensor],
    config: CureConfig,
    generator: torch.Generator,
    device: torch.device,
    skip: int = 0,
    shows_forget: bool = True,
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """One epoch: images, forget first, and the fields of their `Batch`.

    A pass over the forget set, with random retain images; without `shows_forget` a pass over the
    retain set alone.
    `views`: the teacher's embeddings of both sets and of their mirror images, each (2, N, D).
    The first `skip` batches are drawn but not read. In a process group each process gets its shard
    of the images, and all of the fields.
    """
    lengths = len(sets[0]), len(sets[1])
    size, retained = batch_sizes(lengths, config, shows_forget)

    def draw_indices() -> Iterator[tuple[Tensor, Tensor]]:
        if shows_forget:
            for forget in torch.randperm(lengths[0], generator=generator).split(size):
                yield forget, torch.randint(lengths[1], (retained,), generator=generator)
            return
        order = torch.randperm(lengths[1], generator=generator)
        nothing = torch.empty(0, dtype=torch.int64)
        for retain in order.tensor_split(_starts(lengths[1], retained)[1:]):
            yield nothing, retain

    def draw() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for i, (forget, retain) in enumerate(draw_indices()):
            flip = torch.rand(len(forget) + len(retain), generator=generator) < 0.5
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
    batches = np.split(order, _starts(len(codes), size)[1:])

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


def _starts(count: int, size: int) -> list[int]:
    """Where each batch of `size` of `count` images starts.

    A single image at the end joins the batch before it: batch norm cannot train on one.
    """
    starts = list(range(0, count, size))
    return starts[:-1] if len(starts) > 1 and count - starts[-1] == 1 else starts
