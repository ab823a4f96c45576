"""Selective synaptic dampening without a loss: parameters that serve the forget set are shrunk."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from cure_core.encoders.images import Images, take
from cure_core.objectives.base import Objective, Setup, UnlearningDivergedError


@dataclass(eq=False, kw_only=True)
class Ssd(Objective):
    """Shrinks, once and without a step, what matters more to the forget set than to all data.

    A parameter's importance is how strongly the squared norm of the raw embedding answers to it.
    Where I_forget > alpha I_all it is multiplied by min(lambda I_all / I_forget, 1).
    Without labels: the source needs none. `alpha` and `lambda_` bound what is chosen and how much
    of it stays; a frozen parameter stays as it is. The source's alpha is 10, but all data hold the
    forget set, so I_all is at least its share times I_forget: with more than a tenth to forget
    nothing would be chosen. 2 is ours.
    Source: loss-free SSD, Foster et al. (arXiv:2402.19308), after SSD (arXiv:2308.07707).
    """

    alpha: float = 2.0
    lambda_: float = 1.0
    batch_size: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_range("alpha", 0)
        self._check_range("lambda_", 0)
        self._check_range("batch_size", 1, whole=True)

    def start(self, setup: Setup) -> None:
        sizes = len(setup.forget), len(setup.retain)
        forget, retain = (
            importance(setup.student, images, setup.device, self.batch_size)
            for images in (setup.forget, setup.retain)
        )
        dampened = 0
        parameters = trainable(setup.student)
        with torch.no_grad():
            for parameter, own, other in zip(parameters, forget, retain, strict=True):
                everyone = (sizes[0] * own + sizes[1] * other) / sum(sizes)
                chosen = own > self.alpha * everyone
                factor = (self.lambda_ * everyone / own).clamp(max=1)
                parameter.copy_(torch.where(chosen, parameter * factor, parameter))
                dampened += int(chosen.sum())
        self.dampened = dampened / sum(p.numel() for p in parameters)

    def summary(self) -> dict[str, float]:
        return {"dampened": self.dampened}


def trainable(network: nn.Module) -> list[nn.Parameter]:
    """The parameters that are not frozen."""
    return [p for p in network.parameters() if p.requires_grad]


def importance(
    encoder: nn.Module, images: Images, device: torch.device, batch_size: int
) -> list[Tensor]:
    """Mean |gradient of the squared output norm| by trainable parameter, in eval mode, one pass.

    A batch's mean gradient is taken before its absolute value, as the source does: a gradient a
    sample would cost far more. So the numbers depend on `batch_size`.
    Raises UnlearningDivergedError where a gradient is not finite.
    """
    encoder.eval()
    parameters = trainable(encoder)
    totals = [torch.zeros_like(p) for p in parameters]
    for start in range(0, len(images), batch_size):
        batch = take(images, np.arange(start, min(start + batch_size, len(images)))).to(device)
        gradients = torch.autograd.grad(
            encoder(batch).square().sum(), parameters, materialize_grads=True
        )
        for total, gradient in zip(totals, gradients, strict=True):
            total += gradient.abs() / len(images)
    if not all(bool(total.isfinite().all()) for total in totals):
        raise UnlearningDivergedError("a gradient of the embeddings is not finite")
    return totals
