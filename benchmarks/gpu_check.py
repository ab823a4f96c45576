"""What only a GPU can show: losses and K-means agree with the CPU, no step waits, and its cost.

    PYTHONPATH=. python benchmarks/gpu_check.py

Needs torch, numpy and pandas beside `cure_core`; about a minute on one GPU. Prints a table;
exit code 0 when every check holds, 1 when one fails, 2 where there is no CUDA.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from step_ratio import LIMIT as RATIO_LIMIT
from step_ratio import Batches, step_ratio, unlearning_epoch
from torch import Tensor

from cure_core.clustering import kmeans
from cure_core.encoders import build
from cure_core.losses import (
    centroid_contrastive_loss,
    cosine_forgetting_loss,
    dispersion_loss,
    feature_distribution_loss,
    feature_matching_loss,
)
from cure_core.unlearning import CureConfig

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
        "dispersion": lambda s: dispersion_loss(
            s, centroids.to(s), (targets[:, None] != torch.arange(100)).to(s.device)
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


def check_no_waiting(device: str = "cuda") -> list[Check]:
    """An epoch of unlearning on the GPU in which no step, first to last, may wait for it."""
    checks = []
    for amp in (False, True):
        config = CureConfig(clusters=8, batch_size=(16, 32), amp=amp, check_every=STEPS + 1)
        epoch = unlearning_epoch(build("mobilefacenet"), STEPS, device, config)
        epoch()  # what is set up once, workspaces and the optimiser's state, may wait
        waits = 0.0
        try:
            epoch(around=_unwaiting)
        except RuntimeError as error:
            print(f"a step waits for the GPU: {error}", file=sys.stderr)
            waits = 1.0
        finally:
            torch.cuda.set_sync_debug_mode("default")
        checks.append(Check(f"a step waits{', bfloat16' if amp else ''}", waits, 0))
    return checks


def _unwaiting(batches: Batches) -> Batches:
    """The batches; waiting for the GPU is an error from before the first to after the last."""
    torch.cuda.set_sync_debug_mode("error")
    yield from batches
    torch.cuda.set_sync_debug_mode("default")  # the epoch's end does wait, for the means


def check_step_ratio(device: str = "cuda") -> list[Check]:
    """A step of unlearning against a bare one of the same batch, in epochs of 32."""
    measured = step_ratio("mobilefacenet", steps=32, rounds=9, device=device)
    print(measured)
    return [Check("unlearning step / bare step", measured.ratio, RATIO_LIMIT)]


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
    checks = [
        *check_losses("cuda"),
        *check_kmeans("cuda"),
        *check_no_waiting(),
        *check_step_ratio(),
    ]
    for check in checks:
        verdict = "ok" if check.passed else "FAILED"
        print(f"{check.name:48} {check.error:10.2e}  at most {check.limit:8.2e}  {verdict}")
    return int(not all(check.passed for check in checks))


if __name__ == "__main__":
    sys.exit(main())
