"""What every measure does at its edge: tensors to arrays, and no NaN or emptiness past it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike


def as_array(values: torch.Tensor | ArrayLike) -> np.ndarray:
    """A NumPy array of `values`, off the GPU and out of autograd, not copied where avoidable."""
    if isinstance(values, torch.Tensor):
        return values.detach().cpu().numpy()
    return np.asarray(values)


def checked(values: torch.Tensor | ArrayLike, name: str, ndim: int = 1) -> np.ndarray:
    """`as_array`, but ValueError, naming `name`, for a wrong shape, an empty array or NaN."""
    array = as_array(values)
    if array.ndim != ndim:
        raise ValueError(f"{name} has shape {array.shape}; expected {ndim} dimension(s).")
    if not array.size:
        raise ValueError(f"{name} is empty (shape {array.shape}); there is nothing to measure.")
    # min() carries NaN along and, unlike isnan(), allocates nothing the size of 87 million pairs.
    if np.isnan(array.min()):
        first = np.argwhere(np.isnan(array))[0].tolist()
        raise ValueError(f"{name} holds NaN (first at {first}); look for a diverged encoder.")
    return array
