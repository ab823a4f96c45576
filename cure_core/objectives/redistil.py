"""Distillation into a student that starts almost from scratch and never sees a forget image."""

import copy
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from cure_core.checks import SHARE, real, setting
from cure_core.losses import feature_matching_loss
from cure_core.objectives.base import Batch, Objective, Setup
from cure_core.runtime.randomness import seeded


@dataclass(eq=False, kw_only=True)
class Redistil(Objective):
    """The teacher's embeddings of the retain set are learned by a network that is mostly fresh.

    The student's parameters are shrunk to the share `keep` and the rest is a fresh initialisation:
    what the teacher knew is mostly gone, and only the retain set brings it back. Each retain image
    is drawn towards the teacher's embedding of it, so that enrolled templates stay in use.
    Goal: a student that has never seen the forgotten, not one that no longer recognises them.
    Source: shrinking and perturbing (Ash and Adams, arXiv:1910.08475), and distilling on the
    retain set alone (as Chundawat et al. with a fresh student, arXiv:2201.05629); the learning rate
    and its one cycle are our choice.
    """

    weights: ClassVar[dict[str, float]] = {"matching": 1.0}
    shows_forget: ClassVar[bool] = False
    learning_rate: ClassVar[float] = 4e-3

    keep: float = setting(0.2, real, *SHARE)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.config.batchnorm == "frozen":
            raise ValueError(
                "batchnorm='frozen' keeps statistics of weights that this method replaces; "
                "leave it at 'train'"
            )

    def start(self, setup: Setup) -> None:
        # Not the seed itself: a teacher may have started from it, and the student would too.
        state = np.random.SeedSequence([self.config.seed, 8]).generate_state(1)
        with seeded(int(state[0]), setup.device):
            shrink(setup.student, self.keep)

    def schedule(self, optimiser: Optimizer, steps: int) -> LRScheduler:
        return OneCycleLR(optimiser, float(self.config.learning_rate), total_steps=steps)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        return {"matching": feature_matching_loss(batch.student_retain, batch.teacher_retain)}


@torch.no_grad()
def shrink(network: nn.Module, keep: float) -> None:
    """Every parameter becomes `keep` of itself and 1 - `keep` of a fresh initialisation.

    Drawn from torch's generator by each layer's own `reset_parameters`; batch norm's running
    statistics start again. Frozen parameters, and those of a layer without that method, stay.
    """
    fresh = copy.deepcopy(network)
    for layer in fresh.modules():
        reset = getattr(layer, "reset_parameters", None)
        if callable(reset):
            reset()
    for parameter, new in zip(network.parameters(), fresh.parameters(), strict=True):
        if parameter.requires_grad:
            parameter.lerp_(new, 1 - keep)
    for layer in network.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.reset_running_stats()
