"""Sets of face images, whatever holds them: arrays, memory maps, tensors, data sets."""

import hashlib
import warnings
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from cure_core.files import DamagedFileError, digest

SHAPE = (112, 112, 3)
COMPARED = 4096  # images that are searched for shared ones, in a fraction of a second


def image_size(encoder: object) -> tuple[int, int]:
    """(height, width) of the images an encoder takes: its `image_size`, by default 112 x 112."""
    height, width = getattr(encoder, "image_size", SHAPE[:2])
    return int(height), int(width)


class Images(Protocol):
    """Uint8 images (H, W, 3) of one size, by index: an array, memory map, tensor or data set."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


def check_images(images: Any, encoder: object = None, name: str = "image set") -> tuple[int, int]:
    """(height, width) of the images in a set, by its first item.

    `name` is what a message calls the set. Raises ValueError unless it is a non-empty set of uint8
    RGB images, of the size that `encoder`, if given, takes.
    """
    if isinstance(images, str | bytes | dict) or not (
        hasattr(images, "__len__") and hasattr(images, "__getitem__")
    ):
        raise ValueError(
            f"the {name} is a {type(images).__name__}; expected images: a uint8 array "
            "(N, height, width, 3), a memory map, or a data set of such images"
        )
    if len(images) == 0:
        raise ValueError(f"the {name} is empty; it needs at least one image")
    try:
        first = images[0]
    except (OSError, MemoryError, DamagedFileError):
        raise
    except Exception as error:
        raise ValueError(
            f"cannot read the first image of the {name}, a {type(images).__name__}: {error!r}"
        ) from error
    first = _image(first, name)
    if first.dtype != np.uint8 or first.ndim != 3 or first.shape[-1] != 3:
        raise ValueError(
            f"the {name} holds {first.dtype} images of shape {first.shape}; "
            "expected uint8 of shape (height, width, 3)"
        )
    size, taken = (first.shape[0], first.shape[1]), image_size(encoder)
    resizes = getattr(encoder, "resizes", False)  # as `Adapted` may
    if encoder is not None and size != taken and not resizes:
        raise ValueError(
            f"the {name} holds images of {size[0]} x {size[1]} pixels, but "
            f"{type(encoder).__name__} takes {taken[0]} x {taken[1]}; resize them, or wrap the "
            "network in cure_core.encoders.Adapted, which states another size"
        )
    return size


def check_sets(forget: Images, retain: Images, encoder: object = None) -> None:
    """Raise ValueError for a set that holds no images, and for a forget set that is all retained.

    Both must hold images of the size that `encoder` takes.

    Images in both sets are named in a warning; they are searched for in arrays of together at most
    `COMPARED` images.
    """
    sizes = (
        check_images(forget, encoder, "forget set"),
        check_images(retain, encoder, "retain set"),
    )
    if sizes[0] != sizes[1]:
        raise ValueError(f"the forget set holds images of {sizes[0]}, the retain set of {sizes[1]}")
    if forget is retain:
        raise ValueError("forget and retain are the same set; pass what must go and what must stay")
    arrays = hasattr(forget, "shape") and hasattr(retain, "shape")
    if arrays and len(forget) + len(retain) <= COMPARED:
        _check_disjoint(forget, retain)


def _check_disjoint(forget: Images, retain: Images) -> None:
    retained = {content: i for i, content in enumerate(_image_digests(retain))}
    shared = [(i, retained[d]) for i, d in enumerate(_image_digests(forget)) if d in retained]
    if not shared:
        return
    message = (
        f"forget and retain share {len(shared)} of {len(forget)} forget images (first: forget "
        f"{shared[0][0]} is retain {shared[0][1]}); remove them from one of the sets"
    )
    if len(shared) == len(forget):
        raise ValueError(message)
    warnings.warn(message, stacklevel=6)  # a data set may hold an image twice


def _image_digests(images: Images) -> Iterator[bytes]:
    for start in range(0, len(images), 256):
        rows = np.arange(start, min(start + 256, len(images)))
        for image in take(images, rows).cpu().numpy():
            yield hashlib.sha256(np.ascontiguousarray(image).data).digest()


def take(images: Images, index: np.ndarray) -> Tensor:
    """The images at `index` as one uint8 tensor (B, 3, H, W)."""
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


def mirrored(batch: Tensor) -> Tensor:
    """A batch (B, 3, H, W) mirrored left to right."""
    return batch.flip(-1)


def content_digest(images: Images) -> str:
    """A digest of every pixel of a set, whatever kind of set holds them."""
    starts = range(0, len(images), 1024)
    chunks = (np.arange(start, min(start + 1024, len(images))) for start in starts)
    return digest(*(take(images, index).numpy() for index in chunks))


def _image(item: Any, name: str = "image set") -> np.ndarray:
    if isinstance(item, tuple | list | dict):
        raise ValueError(
            f"the {name} yields {type(item).__name__}; expected images and nothing else: labels "
            "have no place here"
        )
    return np.asarray(item.cpu() if isinstance(item, Tensor) else item)
