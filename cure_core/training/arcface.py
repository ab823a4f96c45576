"""ArcFace training, for the teacher and for the oracle."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cure_core.checks import (
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    check_settings,
    one_of,
    real,
    setting,
    whole,
)
from cure_core.encoders.embedding import embed, module_device, weight_arrays
from cure_core.encoders.images import Images, check_images, content_digest
from cure_core.files import digest
from cure_core.losses import arcface_logits
from cure_core.runtime.amp import TYPES, autocast, gradient_scaler, resolved
from cure_core.runtime.distributed import gather, on_rank_zero, world_size, wrap_ddp
from cure_core.runtime.randomness import seeded
from cure_core.training.batches import draw_labelled
from cure_core.training.checkpoint import Checkpoint
from cure_core.training.footprint import Footprint, check_memory, footprint
from cure_core.training.loop import FORMAT, DivergedError, Loop
from cure_core.training.optimiser_step import optimiser_step


@dataclass(frozen=True)
class Recipe:
    """Training settings for teacher and oracle, all our choice.

    Raises ValueError for a field of another type or out of range.

    epochs: passes over the training images
    batch_size: images per step
    learning_rate, head_learning_rate: of the encoder and of the ArcFace head, at their highest;
        both follow a cosine after a warm-up
    momentum, weight_decay: of SGD (Nesterov)
    scale, margin: of ArcFace; the margin in radians
    warmup: share of the steps in which the learning rates rise
    head: "random", or "centroids", each person's mean embedding, for an encoder that already knows
        faces and that a random head would disturb
    seed: of the head, the order of the images and the mirroring
    """

    epochs: int = setting(8, whole, 1)
    batch_size: int = setting(64, whole, 1)
    learning_rate: float = setting(0.02, real, *NOT_NEGATIVE)
    head_learning_rate: float = setting(0.1, real, *NOT_NEGATIVE)
    momentum: float = setting(0.9, real, "from 0 to below 1", lambda x: 0 <= x < 1)
    weight_decay: float = setting(5e-4, real, *NOT_NEGATIVE)
    scale: float = setting(32.0, real, *POSITIVE)
    margin: float = setting(0.4, real, "from 0 to pi, in radians", lambda x: 0 <= x <= math.pi)
    warmup: float = setting(0.05, real, *SHARE)
    head: str = setting("random", one_of, ("random", "centroids"))
    seed: int = setting(0, whole)

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, eq=False, repr=False)
class Trained:
    """A trained encoder in eval mode, its mean loss per epoch, and the seconds it took."""

    encoder: nn.Module
    losses: tuple[float, ...]
    seconds: float

    def __repr__(self) -> str:
        last = f"{self.losses[-1]:.3f}" if self.losses else "none"
        return f"Trained({len(self.losses)} epochs in {self.seconds:.0f} s, last loss {last})"


class ArcFaceHead(nn.Module):
    """Classification weights (C, D), one row per person; discarded after training."""

    def __init__(self, weights: Tensor, recipe: Recipe) -> None:
        super().__init__()
        self.weight = nn.Parameter(weights)
        self.recipe = recipe

    def forward(self, embeddings: Tensor, people: Tensor) -> Tensor:
        """Logits (B, C) of raw embeddings (B, D) of `people` (B,)."""
        cosine = F.normalize(embeddings) @ F.normalize(self.weight).T
        return arcface_logits(cosine, people, self.recipe.scale, self.recipe.margin)


def train(
    start: nn.Module,
    images: Images,
    people: np.ndarray,
    recipe: Recipe | None = None,
    *,
    device: torch.device | str | None = None,
    compile: bool = False,
    amp: bool | str = False,
    checkpoint: str | Path | None = None,
    progress: bool | None = False,
) -> Trained:
    """Train a copy of `start` to recognise `people`; `start` itself is unchanged.

    `images` as in `embed`; `people` (N,) any integers, one per image. Batches are shuffled and half
    of the images mirrored, all from the recipe's seed. The ArcFace head is discarded. `compile`
    and `amp` as in CureConfig. `checkpoint` names a file written every minute and after every
    epoch, from which an interrupted training resumes with the same numbers (CPU). In a process
    group (`runtime.distributed`) every process makes the same call and shares the work.
    Raises ValueError for anything but images, fewer than two people or another training's
    checkpoint, MemoryError for a batch that cannot fit, FloatingPointError if the loss diverges.
    """
    began = time.perf_counter()
    recipe = Recipe() if recipe is None else recipe
    device = torch.device(device) if device is not None else module_device(start)
    amp = resolved(amp, device)
    codes = check_training(start, images, people, recipe, amp)
    need = _check_fits(start, recipe, len(images), int(codes.max()) + 1, amp, device)
    encoder = copy.deepcopy(start).to(device).train()
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    generator = torch.Generator().manual_seed(recipe.seed)
    head = _head(start, images, codes, need.dim, recipe, generator, device)
    optimiser, schedule = _optimiser(encoder, head, recipe, len(codes))
    scaler = gradient_scaler(amp, device)
    run = on_rank_zero(lambda: _identity(start, images, people, recipe, amp) if checkpoint else {})
    loop = Loop(
        {
            "encoder": encoder,
            "head": head,
            "optimiser": optimiser,
            "schedule": schedule,
            "scaler": scaler,
        },
        generator,
        Checkpoint(checkpoint, run, device),
        device,
        problem=lambda: _problem(encoder, head),
        began=began,
    )
    loop.resume()
    with seeded(recipe.seed, device), loop:  # an encoder may have dropout
        forward: Callable[[Tensor], Tensor] = wrap_ddp(encoder, device, trains_statistics=True)
        forward = torch.compile(forward) if compile else forward
        try:
            for epoch in loop.epochs(recipe.epochs, "training", progress):
                for batch, targets in draw_labelled(
                    images, codes, recipe.batch_size, generator, device, loop.step
                ):
                    with autocast(amp, device):
                        embeddings = forward(batch)
                    logits = head(gather(embeddings.float(), len(targets)), targets)
                    loss = F.cross_entropy(logits, targets)
                    norm = optimiser_step(loss, optimiser, scaler, replicated=[head.weight])
                    schedule.step()
                    # not finite if either the loss or the gradient is not
                    loop.add((loss.detach() * len(targets) + 0 * norm)[None])
                loop.end_epoch({"epoch": epoch + 1, "loss": loop.totals()[0] / len(codes)})
        except DivergedError as error:
            raise FloatingPointError(
                f"training diverged: {error}; lower learning_rate={recipe.learning_rate}"
            ) from error
    plain = copy.deepcopy(start).cpu()  # without the layers of a process group
    plain.load_state_dict(encoder.state_dict())
    return Trained(plain.eval(), tuple(row["loss"] for row in loop.history), loop.seconds)


def with_state(network: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """A copy of `network` on the CPU, in eval mode, with the weights in `state`."""
    network = copy.deepcopy(network).cpu().eval()
    network.load_state_dict(state)
    return network


def check_training(
    start: nn.Module, images: Images, people: np.ndarray, recipe: Recipe, amp: bool | str
) -> np.ndarray:
    """Class numbers from 0, int64 (N,). Raises ValueError for arguments that `train` cannot use."""
    check_images(images, start)
    if not isinstance(recipe, Recipe):
        raise ValueError(f"recipe is a {type(recipe).__name__}; pass a Recipe")
    if amp not in TYPES:
        raise ValueError(f"amp={amp!r}; it is False, True, 'bfloat16' or 'float16'")
    names, codes = np.unique(np.asarray(people), return_inverse=True)
    if len(names) < 2 or len(codes) != len(images):
        raise ValueError(
            f"training needs one label per image and at least two people, got {len(images)} "
            f"images, {len(codes)} labels and {len(names)} people"
        )
    return codes


def _problem(encoder: nn.Module, head: nn.Module) -> str | None:
    tensors = (*encoder.state_dict().values(), *head.state_dict().values())
    finite = all(bool(tensor.isfinite().all()) for tensor in tensors)
    return None if finite else "the weights are not finite"


def _head(
    start: nn.Module,
    images: Images,
    codes: np.ndarray,
    dim: int,
    recipe: Recipe,
    generator: torch.Generator,
    device: torch.device,
) -> ArcFaceHead:
    if recipe.head == "centroids":
        encoder = copy.deepcopy(start)  # embedding moves an encoder to the device
        weights = _person_means(embed(encoder, images, device=device), codes)
    else:
        weights = torch.randn(int(codes.max()) + 1, dim, generator=generator)
    return ArcFaceHead(weights.to(device), recipe)


def _optimiser(
    encoder: nn.Module, head: ArcFaceHead, recipe: Recipe, images: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    optimiser = torch.optim.SGD(
        [
            {"params": list(encoder.parameters()), "lr": recipe.learning_rate},
            {"params": [head.weight], "lr": recipe.head_learning_rate},
        ],
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
    )
    steps = math.ceil(images / recipe.batch_size) * recipe.epochs
    warm_cosine = _warm_cosine(steps, recipe.warmup)
    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, warm_cosine)


def _identity(
    start: nn.Module, images: Images, people: np.ndarray, recipe: Recipe, amp: bool | str
) -> dict[str, object]:
    return {
        "format": FORMAT,
        **{f"recipe.{name}": value for name, value in asdict(recipe).items()},
        "amp": str(TYPES[amp]),
        "start": digest(*weight_arrays(start)),
        "images": content_digest(images),
        "people": digest(np.asarray(people)),
    }


def _check_fits(
    start: nn.Module,
    recipe: Recipe,
    images: int,
    people: int,
    amp: bool | str,
    device: torch.device,
) -> Footprint:
    """Weights, gradients and momentum of encoder and head; activations; a few copies of the logits.

    A head of centroids first needs the embeddings of all images, in parts and concatenated.
    """
    need = footprint(start, device, amp, train=True)
    head = 4 * need.dim * people
    logits = 6 * 4 * people * world_size()  # every process has all of them
    fixed = 3 * (need.weights + head) + need.step
    size = {"batch_size": min(recipe.batch_size, images)}
    embedded = 2 * 4 * need.dim * images if recipe.head == "centroids" else 0
    host = max(3 * (need.weights + head), embedded)
    check_memory(size, need.image + logits, max(fixed, embedded), device, host=host)
    return need


def _person_means(embeddings: Tensor, codes: np.ndarray) -> Tensor:
    sums = embeddings.new_zeros(int(codes.max()) + 1, embeddings.shape[1])
    return F.normalize(sums.index_add_(0, torch.from_numpy(codes), embeddings))


def _warm_cosine(steps: int, warmup: float) -> Callable[[int], float]:
    rising = max(1, round(steps * warmup))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))

    return factor
