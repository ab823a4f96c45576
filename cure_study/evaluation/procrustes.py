"""Aligning two embedding spaces."""

import numpy as np
import torch
from numpy.typing import ArrayLike

from cure_core.metrics.arrays import checked


def rotation(source: torch.Tensor | ArrayLike, target: torch.Tensor | ArrayLike) -> np.ndarray:
    """The orthogonal matrix R (D, D), a rotation or reflection, that brings source @ R to target.

    Shapes: source and target (N, D), row by row the same images by two encoders. Fit it on faces
    that both should agree on, the retained ones: on forgotten faces it would hide the change.
    Source: orthogonal Procrustes (Schoenemann 1966), by scipy.
    Raises ValueError for NaN or shapes that differ.
    """
    from scipy.linalg import orthogonal_procrustes

    return orthogonal_procrustes(*paired(source, target))[0]


def paired(
    source: torch.Tensor | ArrayLike, target: torch.Tensor | ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays (N, D); ValueError for NaN or shapes that differ."""
    rows, targets = checked(source, "source", ndim=2), checked(target, "target", ndim=2)
    if rows.shape != targets.shape:
        raise ValueError(f"source is {rows.shape} and target {targets.shape}; expected one shape")
    return rows, targets
