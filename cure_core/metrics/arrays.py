"""What every measure does at its edge: tensors to arrays, and no NaN or emptiness past it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike


def as_array(values: torch.Tensor | ArrayLike) -> np.ndarray:
    """A NumPy array of `values`, off the GPU and out of autograd, not copied where avoidable."""
    if isinstance(values, torch.Tensor):
        return values.detach().cpu().numpy()
    return np.asarray(values)


def checked(values: torch.Tensor | ArrayLike, name: str, ndim: int = 1) -> np.ndarray:
    """`as_array`; ValueError, naming `name`, for a wrong shape, nothing, text, NaN or infinity."""
    array = as_array(values)
    if array.ndim != ndim:
        raise ValueError(f"{name} has shape {array.shape}; expected {ndim} dimension(s).")
    if not array.size:
        raise ValueError(f"{name} is empty (shape {array.shape}); there is nothing to measure.")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} holds {array.dtype}; expected real numbers.")
    # min() and max() carry NaN along and allocate nothing the size of 87 million pairs.
    if not (np.isfinite(array.min()) and np.isfinite(array.max())):
        first = np.argwhere(~np.isfinite(array))[0].tolist()
        kind = "NaN" if np.isnan(array).any() else "infinity"
        raise ValueError(f"{name} holds {kind} (first at {first}); look for a diverged encoder.")
    return array


def labels_of(people: torch.Tensor | ArrayLike, n: int, name: str = "people") -> np.ndarray:
    """The labels (n,) of n images; ValueError, naming `name`, for another number of them."""
    labels = as_array(people)
    if labels.shape != (n,):
        raise ValueError(f"{name} has shape {labels.shape}; expected one label an image, ({n},).")
    return labels


def nan_key(values: Iterable[Any]) -> tuple[Any, ...]:
    """The values to compare or hash by: every NaN is the same."""
    return tuple("NaN" if value != value else value for value in values)


class EqualWithNaN:
    """Base of a dataclass (with eq=False) of numbers: equal where they are, NaN equal to NaN."""

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return nan_key(vars(self).values()) == nan_key(vars(other).values())

    def __hash__(self) -> int:
        return hash(nan_key(vars(self).values()))
