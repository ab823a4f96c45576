"""The memory that training needs, known before it starts."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cure_core.encoders.images import image_size
from cure_core.runtime.amp import autocast
from cure_core.runtime.distributed import world_size
from cure_core.runtime.memory import available
from cure_core.runtime.randomness import forked

MARGIN = 1.5  # peak over what autograd saves: 1.27 to 1.43 measured on a CPU; our choice


@dataclass(frozen=True)
class Footprint:
    """Bytes that training an encoder takes: its weights, the fixed part of a step, and each image.

    `dim` is the length of an embedding.
    """

    weights: int
    step: float
    image: float
    dim: int


def footprint(encoder: nn.Module, device: torch.device, amp: bool | str, train: bool) -> Footprint:
    """Measured from the tensors that autograd saves in forward passes of two and four images."""
    probe = copy.deepcopy(encoder).to(device).train(train)
    held = {t.untyped_storage().data_ptr() for t in (*probe.parameters(), *probe.buffers())}
    kept, dim = [], 0
    for count in (2, 4):
        sizes: dict[int, int] = {}

        def keep(tensor: Tensor, sizes: dict[int, int] = sizes) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in held:
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        images = torch.zeros(count, 3, *image_size(encoder), dtype=torch.uint8, device=device)
        images = images.to(memory_format=torch.channels_last)
        with (
            forked(device),
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        ):
            with autocast(amp, device):
                embeddings = probe(images)
            dim = embeddings.shape[1]
            kept.append(sum(sizes.values()))
            del embeddings
    each = (kept[1] - kept[0]) / 2
    weights = sum(t.numel() * t.element_size() for t in encoder.state_dict().values())
    return Footprint(weights, max(0.0, kept[0] - 2 * each), each, dim)


def check_memory(
    batch: Mapping[str, tuple[int, ...] | int],
    image: float,
    fixed: float,
    device: torch.device,
    host: float = 0.0,
) -> None:
    """Raise MemoryError, naming the largest batch that fits, for a run that cannot fit.

    `batch` is one setting by name: the images in a step, one number or a tuple of parts. `image`
    is bytes per image, `fixed` bytes whatever the batch size, both on `device`; `host` is bytes in
    main memory when `device` is a GPU.
    """
    ((name, sizes),) = batch.items()
    parts = sizes if isinstance(sizes, tuple) else (sizes,)
    needs = fixed + MARGIN * image * sum(parts) / world_size()
    free = available(device)
    if free is not None and needs > free:
        fits = int((free - fixed) / (MARGIN * image) * world_size())
        smaller = tuple(part * fits // sum(parts) for part in parts)
        remedy = "no batch would fit: take a smaller encoder or a larger machine"
        if min(smaller) > 0:
            remedy = f"{name}={smaller if len(smaller) > 1 else smaller[0]} would fit"
        raise MemoryError(
            f"{name}={sizes} needs about {_gb(needs)} of memory on {device}, of which "
            f"{_gb(free)} are free; {remedy}"
        )
    main = available(torch.device("cpu")) if device.type != "cpu" else None
    if main is not None and host > main:
        raise MemoryError(
            f"the run needs about {_gb(host)} of main memory in addition to {device}, of which "
            f"{_gb(main)} are free; stop other programs, or take a smaller encoder"
        )


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
