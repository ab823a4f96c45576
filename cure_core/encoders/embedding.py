"""Embedding many images with an encoder."""

import itertools
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cure_core.encoders.images import Images, check_images, mirrored, take
from cure_core.runtime.distributed import gather, shard, world_size
from cure_core.runtime.prefetch import pinned, prefetch
from cure_core.runtime.progress import bar


class NotFiniteError(ValueError):
    """The embeddings of some images hold NaN or infinity; `index` (M,) says which."""

    def __init__(self, index: Tensor) -> None:
        super().__init__(
            f"the embeddings of {len(index)} images are not finite (first: image {int(index[0])}); "
            "the encoder has diverged or its weights are damaged"
        )
        self.index = index


def raw_embeddings(
    encoder: nn.Module,
    images: Images,
    batch_size: int = 64,
    device: torch.device | str | None = None,
    view: Callable[[Tensor], Tensor] | None = None,
    progress: bool | None = False,
) -> Tensor:
    """Un-normalised embeddings (N, D) float32 on the CPU, of the images or of a `view` of them.

    `view` maps a uint8 batch (B, 3, H, W) to another, such as `mirrored`.
    Runs in eval mode on `device` (default: where the encoder is) and restores the encoder's mode.
    In a process group each process embeds its shard, and all get the whole.
    Raises ValueError unless `images` is a set of images of the encoder's size, and NotFiniteError,
    a ValueError, naming the first image whose embedding is not finite.
    """
    check_images(images, encoder)
    device = torch.device(device) if device is not None else module_device(encoder)
    was_training = encoder.training
    encoder.to(device).eval()
    sharded = len(images) >= world_size() > 1
    rows = shard(len(images)) if sharded else slice(0, len(images))
    starts = range(rows.start, rows.stop, batch_size)

    def read(start: int) -> Tensor:
        return pinned(take(images, np.arange(start, min(start + batch_size, rows.stop))), device)

    parts = []
    try:
        with torch.inference_mode():
            for batch in prefetch(bar(starts, "embedding", progress, unit="batch"), read):
                batch = batch.to(device, non_blocking=True)
                parts.append(encoder(view(batch) if view else batch).float())
    finally:
        encoder.train(was_training)
    raw = torch.cat(parts)  # outside inference mode: a tensor that can be trained on
    parts.clear()
    raw = (gather(raw, len(images)) if sharded else raw).cpu()
    bad = (~raw.isfinite().all(1)).nonzero().flatten()
    if len(bad):
        raise NotFiniteError(bad)
    return raw


def embed(
    encoder: nn.Module,
    images: Images,
    batch_size: int = 64,
    device: torch.device | str | None = None,
    mirror: bool = False,
    progress: bool | None = False,
) -> Tensor:
    """L2-normalised embeddings (N, D) float32 on the CPU.

    `images`: uint8 array, memory map or tensor (N, H, W, 3), or a data set of such images, of the
    size that the encoder takes (`images.image_size`).
    With `mirror`, D doubles: original and mirrored side by side, normalised together.
    Raises ValueError for an empty set, for items that are not images of that size, and for
    embeddings that are not finite.
    """
    views = [raw_embeddings(encoder, images, batch_size, device, None, progress)]
    if mirror:
        views.append(raw_embeddings(encoder, images, batch_size, device, mirrored, progress))
    return F.normalize(torch.cat(views, 1), dim=1)


def teacher_views(
    teacher: nn.Module, images: Images, device: torch.device | str | None = None
) -> Tensor:
    """The teacher's embeddings of every image and of its mirror image, (2, N, D), L2-normalised."""
    views = [raw_embeddings(teacher, images, device=device, view=v) for v in (None, mirrored)]
    return F.normalize(torch.stack(views), dim=2)


def module_device(module: nn.Module) -> torch.device:
    """The device of a module's first parameter or buffer; the CPU if it has none."""
    tensors = itertools.chain(module.parameters(), module.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def weight_arrays(network: nn.Module) -> list[np.ndarray]:
    """A network's weights and buffers as arrays, in state dict order, for a digest."""
    return [tensor.cpu().numpy() for tensor in network.state_dict().values()]
