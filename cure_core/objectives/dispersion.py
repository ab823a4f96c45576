"""Embedding dispersion: forget samples are driven apart, so that none is found by another."""

from typing import ClassVar

import torch
from torch import Tensor

from cure_core.losses import dispersion_loss, feature_matching_loss
from cure_core.objectives.base import Batch, Objective


class Dispersion(Objective):
    """Forget samples move apart from each other on the sphere, retain samples stay in place.

    Without labels: the source disperses each identity; here every forget sample moves away from
    all others of its batch, above all from the nearest.
    The source's formulas were not available. It has a uniform and a hard dispersion; ours is a
    soft maximum of the cosines, hard as `config.temperature` goes to 0 and uniform as it grows.
    Keeping the retain samples by cosine distance is our choice, as are the weights.
    Source: the idea of Zakharov (arXiv:2512.13317).
    """

    weights: ClassVar[dict[str, float]] = {"dispersion": 1.0, "matching": 30.0}

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        forget = batch.student_forget
        others = ~torch.eye(len(forget), dtype=torch.bool, device=forget.device)
        return {
            "dispersion": dispersion_loss(forget, forget, others, self.config.temperature),
            "matching": feature_matching_loss(batch.student_retain, batch.teacher_retain),
        }
