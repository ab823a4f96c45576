"""Unlearning objectives: one file per method, with only its loss."""

from cure_core.objectives.base import Batch, Objective, Setup, UnlearningDivergedError
from cure_core.objectives.cure import Cure
from cure_core.objectives.registry import METHODS, build, make_objective

__all__ = [
    "METHODS",
    "Batch",
    "Cure",
    "Objective",
    "Setup",
    "UnlearningDivergedError",
    "build",
    "make_objective",
]
