"""What every measure does with its arguments: tensors to arrays, checked for NaN and emptiness."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike

T = TypeVar("T")


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
    # min() and max() propagate NaN and allocate nothing the size of 87 million pairs.
    if not (np.isfinite(array.min()) and np.isfinite(array.max())):
        first = np.argwhere(~np.isfinite(array))[0].tolist()
        kind = "NaN" if np.isnan(array).any() else "infinity"
        raise ValueError(f"{name} holds {kind} (first at {first}); the encoder may have diverged.")
    return array


def unit_rows(embeddings: torch.Tensor | ArrayLike, name: str) -> np.ndarray:
    """`checked` embeddings (N, D) with rows of length one; a zero row stays zero."""
    from sklearn.preprocessing import normalize  # slow to import, and not needed for intervals

    return normalize(checked(embeddings, name, ndim=2))


def labels_of(people: torch.Tensor | ArrayLike, n: int, name: str = "people") -> np.ndarray:
    """The labels (n,) of n images; ValueError, naming `name`, for another number of them."""
    labels = as_array(people)
    if labels.shape != (n,):
        raise ValueError(f"{name} has shape {labels.shape}; expected one label an image, ({n},).")
    return labels


def equal_with_nan(kind: type[T]) -> type[T]:
    """Class decorator for a dataclass (eq=False) or NamedTuple of numbers: NaN is equal to NaN."""

    def key(instance: Any) -> tuple[Any, ...]:
        values = instance if isinstance(instance, tuple) else vars(instance).values()
        return tuple("NaN" if value != value else value for value in values)

    def equal(self: T, other: object) -> bool:
        if not isinstance(other, tuple if issubclass(kind, tuple) else kind):
            return NotImplemented
        return key(self) == key(other)

    methods = {
        "__eq__": equal,
        "__ne__": lambda self, other: not self == other,  # noqa: SIM201 (a tuple has another)
        "__hash__": lambda self: hash(key(self)),
    }
    for name, method in methods.items():
        setattr(kind, name, method)
    return kind
