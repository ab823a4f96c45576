"""Selective synaptic dampening without a loss: parameters of the forget set are shrunk."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from cure_core.checks import NOT_NEGATIVE, real, setting, whole
from cure_core.encoders.images import Images, take
from cure_core.objectives.base import Objective, Setup, UnlearningDivergedError


@dataclass(eq=False, kw_only=True)
class Ssd(Objective):
    """Shrinks, once and without a training step, parameters that matter most to the forget set.

    A parameter's importance I is the mean absolute gradient of the squared norm of the raw
    embedding. Where I_forget > alpha I_all it is multiplied by min(lambda I_all / I_forget, 1).
    Without labels: the source needs none. A frozen parameter does not change. The source's alpha is
    10, but all data contain the forget set, so I_all is at least its share times I_forget: with
    more than a tenth to forget no parameter would be chosen. 2 is our choice.
    Source: loss-free SSD, Foster et al. (arXiv:2402.19308), after SSD (arXiv:2308.07707).
    """

    alpha: float = setting(2.0, real, *NOT_NEGATIVE)
    lambda_: float = setting(1.0, real, *NOT_NEGATIVE)
    batch_size: int = setting(64, whole, 1)

    def start(self, setup: Setup) -> None:
        n_forget, n_retain = len(setup.forget), len(setup.retain)
        importances = [
            importance(setup.student, images, setup.device, self.batch_size)
            for images in (setup.forget, setup.retain)
        ]
        dampened = 0
        parameters = trainable(setup.student)
        with torch.no_grad():
            for parameter, forget, retain in zip(parameters, *importances, strict=True):
                all_data = (n_forget * forget + n_retain * retain) / (n_forget + n_retain)
                chosen = forget > self.alpha * all_data
                factor = (self.lambda_ * all_data / forget).clamp(max=1)
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

    The absolute value is that of a batch's mean gradient, as in the source, since per-sample
    gradients would cost far more. So the numbers depend on `batch_size`.
    Raises UnlearningDivergedError if a gradient is not finite.
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
