"""Unlearning objectives: one file a method, each only its own loss."""

from cure_core.objectives.base import Batch, Objective
from cure_core.objectives.cure import Cure

__all__ = ["Batch", "Cure", "Objective"]
