"""One optimiser step: backward, gradient clipping, loss scaling."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cure_core.runtime.distributed import broadcast_

SMALLEST_SCALE = 2.0**-14  # below it a gradient that is not finite is not a float16 overflow


def optimiser_step(
    loss: Tensor,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    clip: float | None = None,
    replicated: Sequence[nn.Parameter] = (),
) -> Tensor:
    """Backward and one step; returns the gradient norm before clipping to `clip`.

    `replicated` are parameters whose whole gradient every process computes.
    If float16 has overflowed, the scaler skips the step and lowers its scale; the norm is 0 then,
    and NaN once no scale helps. Nothing here waits for the device, except with float16.
    """
    optimiser.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()
    for parameter in replicated:
        if parameter.grad is not None:
            broadcast_(parameter.grad)
    scaler.unscale_(optimiser)
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    if clip is None:
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    else:
        norm = nn.utils.clip_grad_norm_(parameters, clip)
    scaler.step(optimiser)
    scaler.update()
    if not scaler.is_enabled():
        return norm
    if scaler.get_scale() < SMALLEST_SCALE:
        return torch.full_like(norm, torch.nan)
    return norm.where(norm.isfinite(), 0)
