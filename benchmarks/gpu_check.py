"""What only a GPU can show: the losses and K-means agree with the CPU, and no step waits for it.

    PYTHONPATH=. python benchmarks/gpu_check.py

Needs torch, numpy and pandas beside `cure_core`; takes under a minute on one GPU. Prints a table;
exit code 0 when every check holds, 1 when one fails, 2 where there is no CUDA.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cure_core.clustering import kmeans
from cure_core.encoders import build
from cure_core.losses import (
    centroid_contrastive_loss,
    cosine_forgetting_loss,
    feature_distribution_loss,
    feature_matching_loss,
)
from cure_core.objectives import Batch, Cure
from cure_core.unlearning import CureConfig, unlearn

# Relative to the largest entry. A loss computes in float32 whatever comes in, so its value is good
# to float32; its gradient comes back in the input's type, and bfloat16 has 8 bits.
VALUE_LIMIT = 1e-5
GRADIENT_LIMIT = {torch.float32: 1e-5, torch.bfloat16: 2**-8}
INERTIA_LIMIT = 1e-4
STEPS = 16  # of the epoch in which nothing may wait


@dataclass(frozen=True)
class Check:
    """One measured error and the most it may be."""

    name: str
    error: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.error <= self.limit  # False for NaN


def check_losses(device: str) -> list[Check]:
    """Each loss and its gradient on `device` against float64 on the CPU, from the same inputs."""
    generator = torch.Generator().manual_seed(0)
    student, teacher, centroids = (_unit(generator, n, 512) for n in (96, 96, 100))
    targets = torch.randint(100, (96,), generator=generator)
    checks = []
    for dtype, gradient_limit in GRADIENT_LIMIT.items():
        for name, loss in _losses(teacher.to(dtype), centroids.to(dtype), targets).items():
            # Both sides see the rounded inputs: what is measured is the loss, not the rounding.
            value, gradient = _value_and_gradient(loss, student.to(device, dtype))
            exact, exact_gradient = _value_and_gradient(loss, student.to(dtype).double())
            label = f"{name}, {str(dtype).removeprefix('torch.')}"
            checks.append(Check(label, _error(value, exact), VALUE_LIMIT))
            checks.append(
                Check(f"{label}, gradient", _error(gradient, exact_gradient), gradient_limit)
            )
    return checks


def _losses(
    teacher: Tensor, centroids: Tensor, targets: Tensor
) -> dict[str, Callable[[Tensor], Tensor]]:
    """Each loss as a function of the student's embeddings, wherever and in whatever type."""
    return {
        "cosine_forgetting": lambda s: cosine_forgetting_loss(s, teacher.to(s)),
        "centroid_contrastive": lambda s: centroid_contrastive_loss(
            s, centroids.to(s), targets.to(s.device)
        ),
        "feature_matching": lambda s: feature_matching_loss(s, teacher.to(s)),
        "feature_distribution": lambda s: feature_distribution_loss(s, teacher.to(s)),
    }


def check_kmeans(device: str) -> list[Check]:
    """K-means on `device` against float64 on the CPU: relative difference of the inertia."""
    generator = torch.Generator().manual_seed(0)
    people = _unit(generator, 50, 128).repeat(100, 1)
    x = F.normalize(people + 0.05 * torch.randn(people.shape, generator=generator))
    starts: dict[str, Tensor | str] = {"same start": x[25:75], "k-means++, same seed": "k-means++"}
    checks = []
    for spherical in (False, True):
        for name, init in starts.items():
            here = kmeans(x, 50, init=init, device=device, spherical=spherical)
            exact = kmeans(x.double(), 50, init=init, device="cpu", spherical=spherical)
            error = abs(here.inertia / exact.inertia - 1)
            label = f"kmeans{', spherical' if spherical else ''}, {name}"
            checks.append(Check(label, error, INERTIA_LIMIT))
    return checks


def check_no_waiting() -> list[Check]:
    """An epoch of unlearning on the GPU in which nothing between its ends may wait for it."""
    images = np.random.default_rng(0).integers(0, 256, (768, 112, 112, 3), np.uint8)
    forget, retain = images[: STEPS * 16], images[STEPS * 16 :]
    checks = []
    for amp in (False, True):
        config = CureConfig(
            clusters=8, epochs=1, batch_size=(16, 32), amp=amp, check_every=STEPS + 1
        )
        waits = 0.0
        unlearn(build("mobilefacenet"), forget, retain, config, device="cuda")  # warms up
        try:
            unlearn(
                build("mobilefacenet"), forget, retain, config, objective=Unwaiting, device="cuda"
            )
        except RuntimeError as error:
            print(f"a step waits for the GPU: {error}", file=sys.stderr)
            waits = 1.0
        finally:
            torch.cuda.set_sync_debug_mode("default")
        checks.append(Check(f"a step waits{', bfloat16' if amp else ''}", waits, 0))
    return checks


class Unwaiting(Cure):
    """CURE, with waiting for the GPU an error from its first step to its last."""

    left = STEPS

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        self.left -= 1
        torch.cuda.set_sync_debug_mode("error" if self.left else "default")
        return super().terms(batch)


def _unit(generator: torch.Generator, *shape: int) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=generator))


def _value_and_gradient(
    loss: Callable[[Tensor], Tensor], embeddings: Tensor
) -> tuple[Tensor, Tensor]:
    leaf = embeddings.clone().requires_grad_()
    value = loss(leaf)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), gradient


def _error(value: Tensor, exact: Tensor) -> float:
    """Largest difference, relative to the largest entry of `exact`."""
    return ((value.cpu().double() - exact).abs().max() / exact.abs().max()).item()


def main() -> int:
    if not torch.cuda.is_available():
        print("no GPU here: nothing checked")
        return 2
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    checks = [*check_losses("cuda"), *check_kmeans("cuda"), *check_no_waiting()]
    for check in checks:
        verdict = "ok" if check.passed else "FAILED"
        print(f"{check.name:48} {check.error:10.2e}  at most {check.limit:8.2e}  {verdict}")
    return int(not all(check.passed for check in checks))


if __name__ == "__main__":
    sys.exit(main())
