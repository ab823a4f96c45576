"""Embeddings that a person can check: unit vectors in the plane."""

import torch
from torch import Tensor


def on_circle(*degrees: float, dtype: torch.dtype = torch.float64) -> Tensor:
    """Unit vectors (N, 2) at these angles."""
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1).to(dtype)
