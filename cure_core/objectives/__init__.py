"""Unlearning objectives: one file a method, each only its own loss."""

from cure_core.objectives.base import Batch, Objective, Setup
from cure_core.objectives.cure import Cure
from cure_core.objectives.registry import METHODS, build

__all__ = ["METHODS", "Batch", "Cure", "Objective", "Setup", "build"]
