"""Embedding many images with an encoder."""

import itertools
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cure_core.files import digest
from cure_core.runtime.distributed import gather, shard, world_size
from cure_core.runtime.prefetch import pinned, prefetch
from cure_core.runtime.progress import bar


class Images(Protocol):
    """Uint8 images (112, 112, 3) by index: an array, memory map, tensor, view or data set."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


def take(images: Images, index: np.ndarray) -> Tensor:
    """Images at `index` as one uint8 tensor (B, 3, 112, 112); `images` array, map or data set."""
    index = np.asarray(index)
    if isinstance(images, Tensor):
        batch = images[torch.as_tensor(index, device=images.device)]
    elif hasattr(images, "shape"):
        batch = torch.from_numpy(np.ascontiguousarray(images[index]))
    else:
        batch = torch.from_numpy(np.stack([_image(images[int(i)]) for i in index]))
    if batch.dtype != torch.uint8:
        raise ValueError(f"the images are {batch.dtype}; expected uint8, 0 to 255")
    return batch.permute(0, 3, 1, 2)


def check_images(images: Images, name: str = "images") -> None:
    """Raise ValueError, by the first image, for what is no set of uint8 images (112, 112, 3)."""
    if len(images) == 0:
        raise ValueError(f"no {name}: the set is empty")
    first = _image(images[0])
    if first.dtype != np.uint8 or first.shape != (112, 112, 3):
        raise ValueError(
            f"the {name} are {first.dtype} of shape {first.shape}; expected uint8 of (112, 112, 3)"
        )


def _image(item: Any) -> np.ndarray:
    if isinstance(item, tuple | list | dict):
        raise ValueError(f"the set yields {type(item).__name__}; expected images and nothing else")
    return np.asarray(item.cpu() if isinstance(item, Tensor) else item)


def raw_embeddings(
    encoder: nn.Module,
    images: Images,
    batch_size: int = 64,
    device: torch.device | str | None = None,
    view: Callable[[Tensor], Tensor] | None = None,
    progress: bool | None = False,
) -> Tensor:
    """Un-normalised embeddings (N, D) float32 on the CPU, of the images or of a `view` of them.

    `view` maps a uint8 batch (B, 3, 112, 112) to another: `mirrored` is one.
    Runs in eval mode on `device` (default: where the encoder is) and restores the encoder's mode.
    In a group of processes each embeds its share, and all get the whole.
    Raises ValueError for what are no images, and naming the first whose embedding is not finite.
    """
    check_images(images)
    device = torch.device(device) if device is not None else module_device(encoder)
    was_training = encoder.training
    encoder.to(device).eval()
    shared = len(images) >= world_size() > 1
    own = shard(len(images)) if shared else slice(0, len(images))
    starts = range(own.start, own.stop, batch_size)

    def read(start: int) -> Tensor:
        return pinned(take(images, np.arange(start, min(start + batch_size, own.stop))), device)

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
    raw = (gather(raw, len(images)) if shared else raw).cpu()
    bad = (~raw.isfinite().all(1)).nonzero().flatten()
    if len(bad):
        raise ValueError(
            f"the embeddings of {len(bad)} images are not finite (first: image {int(bad[0])}); "
            "the encoder has diverged or its weights are damaged"
        )
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

    `images`: uint8 array, memory map or tensor (N, 112, 112, 3), or a data set of such images.
    With `mirror`, D doubles: original and mirrored side by side, normalised together.
    Raises ValueError for an empty set, what are no images, and embeddings that are not finite.
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


def mirrored(batch: Tensor) -> Tensor:
    """The view of a batch (B, 3, 112, 112) in a mirror."""
    return batch.flip(-1)


def module_device(module: nn.Module) -> torch.device:
    """The device of a module's first parameter or buffer; the CPU where it has none."""
    tensors = itertools.chain(module.parameters(), module.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def content_digest(images: Images) -> str:
    """A digest of every pixel of a set, whatever kind of set holds them."""
    starts = range(0, len(images), 1024)
    chunks = (np.arange(start, min(start + 1024, len(images))) for start in starts)
    return digest(*(take(images, index).numpy() for index in chunks))


def weight_arrays(network: nn.Module) -> list[np.ndarray]:
    """A network's weights and buffers, in its own order: what a digest of it reads."""
    return [tensor.cpu().numpy() for tensor in network.state_dict().values()]
