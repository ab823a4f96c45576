"""Selective synaptic dampening without a loss: parameters that serve the forget set are shrunk."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from cure_core.embedding import Images, take
from cure_core.objectives.base import Objective, Setup


@dataclass(eq=False, kw_only=True)
class Ssd(Objective):
    """Shrinks, once and without a step, what matters more to the forget set than to all data.

    A parameter's importance is how strongly the squared norm of the raw embedding answers to it.
    Where I_forget > alpha I_all it is multiplied by min(lambda I_all / I_forget, 1).
    Without labels: the source needs none. `alpha` and `lambda_` bound what is chosen and how much
    of it stays. The source's alpha is 10, but all data hold the forget set, so I_all is at least
    its share times I_forget: with more than a tenth to forget nothing would be chosen. 2 is ours.
    Source: loss-free SSD, Foster et al. (arXiv:2402.19308), after SSD (arXiv:2308.07707).
    """

    alpha: float = 2.0
    lambda_: float = 1.0
    batch_size: int = 64

    def start(self, setup: Setup) -> None:
        sizes = len(setup.forget), len(setup.retain)
        forget, retain = (
            importance(setup.student, images, setup.device, self.batch_size)
            for images in (setup.forget, setup.retain)
        )
        dampened = 0
        parameters = list(setup.student.parameters())
        with torch.no_grad():
            for parameter, own, other in zip(parameters, forget, retain, strict=True):
                everyone = (sizes[0] * own + sizes[1] * other) / sum(sizes)
                chosen = own > self.alpha * everyone
                factor = (self.lambda_ * everyone / own).clamp(max=1)
                parameter.copy_(torch.where(chosen, parameter * factor, parameter))
                dampened += int(chosen.sum())
        self.dampened = dampened / sum(p.numel() for p in parameters)

    def facts(self) -> dict[str, float]:
        return {"dampened": self.dampened}


def importance(
    encoder: nn.Module, images: Images, device: torch.device, batch_size: int
) -> list[Tensor]:
    """Mean |gradient of the squared output norm| by parameter, in eval mode, one pass.

    A batch's mean gradient is taken before its absolute value, as the source does: a gradient a
    sample would cost far more. So the numbers depend on `batch_size`.
    """
    encoder.eval()
    parameters = list(encoder.parameters())
    totals = [torch.zeros_like(p) for p in parameters]
    for start in range(0, len(images), batch_size):
        batch = take(images, np.arange(start, min(start + batch_size, len(images)))).to(device)
        gradients = torch.autograd.grad(encoder(batch).square().sum(), parameters)
        for total, gradient in zip(totals, gradients, strict=True):
            total += gradient.abs() / len(images)
    return totals
