"""ArcFace training: written once, for the teacher and for the oracle."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cure_core.checks import one_of, real, whole
from cure_core.encoders.embedding import (
    Images,
    check_images,
    content_digest,
    embed,
    module_device,
    weight_arrays,
)
from cure_core.files import digest
from cure_core.runtime.distributed import gather, on_rank_zero, world_size, wrap_ddp
from cure_core.runtime.memory import Footprint, check_memory, footprint
from cure_core.runtime.precision import TYPES, autocast, descend, gradient_scaler
from cure_core.runtime.progress import bar
from cure_core.runtime.randomness import seeded
from cure_core.training.batches import draw_labelled
from cure_core.training.checkpoint import Checkpoint

RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    **dict.fromkeys(
        ("learning_rate", "head_learning_rate", "weight_decay"), ("of 0 or more", lambda x: x >= 0)
    ),
    "momentum": ("from 0 to below 1", lambda x: 0 <= x < 1),
    "scale": ("above 0", lambda x: x > 0),
    "margin": ("from 0 to pi, in radians", lambda x: 0 <= x <= math.pi),
    "warmup": ("from 0 to 1, a share of the steps", lambda x: 0 <= x <= 1),
}


@dataclass(frozen=True)
class Recipe:
    """How an encoder is trained; all of it our choice. Rates follow a cosine after a warm-up.

    `head` starts the ArcFace weights at random, or, where the encoder has learnt faces before, at
    each person's mean embedding, which spares it the push of a head that knows nothing.
    Raises ValueError for a field of another type or out of range.
    """

    epochs: int = 8
    batch_size: int = 64
    learning_rate: float = 0.02
    head_learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    scale: float = 32.0
    margin: float = 0.4
    warmup: float = 0.05
    head: str = "random"
    seed: int = 0

    def __post_init__(self) -> None:
        plain = {  # Python's own numbers, whether YAML or numpy gave them: the cache's key has them
            **{n: whole(n, getattr(self, n), 1) for n in ("epochs", "batch_size")},
            "seed": whole("seed", self.seed),
            **{
                name: real(name, getattr(self, name), accepted, fits)
                for name, (accepted, fits) in RANGES.items()
            },
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)
        one_of("head", self.head, ("random", "centroids"))


@dataclass(frozen=True, eq=False, repr=False)
class Trained:
    """A trained encoder in eval mode, its mean loss an epoch, and the seconds it took."""

    encoder: nn.Module
    losses: tuple[float, ...]
    seconds: float

    def __repr__(self) -> str:
        last = f"{self.losses[-1]:.3f}" if self.losses else "none"
        return f"Trained({len(self.losses)} epochs in {self.seconds:.0f} s, last loss {last})"


def arcface_logits(cosine: Tensor, people: Tensor, scale: float, margin: float) -> Tensor:
    """Scaled cosines (B, C) with `margin` (radians) added to each sample's angle to its own class.

    Where the angle would pass pi the penalty goes on linearly, so that it stays monotone.
    Source: ArcFace (arXiv:1801.07698), equation 3.
    """
    own = cosine.gather(1, people[:, None]).clamp(-1 + 1e-7, 1 - 1e-7)
    widened = own * math.cos(margin) - (1 - own * own).sqrt() * math.sin(margin)
    beyond = own <= -math.cos(margin)
    widened = torch.where(beyond, own - margin * math.sin(margin), widened)
    return scale * cosine.scatter(1, people[:, None], widened)


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
    """Train a copy of `start` to tell `people` apart; `start` itself is left as it is.

    `images` as in `embed`, `people` (N,) any integers, one an image. Batches are shuffled and half
    of the images mirrored, all from the recipe's seed. The ArcFace head is thrown away. `compile`
    and `amp` as in CureConfig. `checkpoint` names a file written every minute and after every
    epoch, from which a training that was stopped goes on to the same numbers (CPU). In a group of
    processes (`cure_core.runtime.distributed`) all call this alike and share the work.
    Raises ValueError for what are no images, fewer than two people or another training's
    checkpoint, MemoryError for a batch that cannot fit, and FloatingPointError when the loss
    diverges.
    """
    recipe = Recipe() if recipe is None else recipe
    check_training(images, recipe, amp)
    names, codes = np.unique(np.asarray(people), return_inverse=True)
    if len(names) < 2 or len(codes) != len(images):
        raise ValueError(
            f"training needs one label an image and two people at least, got {len(images)} images, "
            f"{len(codes)} labels and {len(names)} people"
        )
    began = time.perf_counter()
    device = torch.device(device) if device is not None else module_device(start)
    need = _check_fits(start, recipe, len(images), len(names), amp, device)
    encoder = copy.deepcopy(start).to(device).train()
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    generator = torch.Generator().manual_seed(recipe.seed)
    if recipe.head == "centroids":
        probe = copy.deepcopy(start)  # embedding moves an encoder to the device
        weights = _person_means(embed(probe, images, device=device), codes)
    else:
        weights = torch.randn(len(names), need.dim, generator=generator)
    head = nn.Parameter(weights.to(device))
    optimiser = torch.optim.SGD(
        [
            {"params": list(encoder.parameters()), "lr": recipe.learning_rate},
            {"params": [head], "lr": recipe.head_learning_rate},
        ],
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
    )
    steps = math.ceil(len(codes) / recipe.batch_size) * recipe.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _warm_cosine(steps, recipe.warmup))
    scaler = gradient_scaler(amp, device)
    losses: list[float] = []
    step, total = 0, torch.zeros((), device=device)  # of the epoch that has begun
    parts: dict[str, Any] = {
        "encoder": encoder,
        "optimiser": optimiser,
        "schedule": schedule,
        "scaler": scaler,
    }

    def made_of() -> dict[str, object]:
        return _identity(start, images, people, recipe, amp) if checkpoint else {}

    keeper = Checkpoint(checkpoint, on_rank_zero(made_of), device)
    with seeded(recipe.seed, device), keeper:  # an encoder may have dropout
        saved = keeper.load()
        if saved is not None:
            for name, part in parts.items():
                part.load_state_dict(saved[name])
            head.data.copy_(saved["head"])
            generator.set_state(saved["generator"])
            losses, step, total = saved["losses"], saved["step"], saved["total"].to(device)
            began = time.perf_counter() - saved["seconds"]  # what was done again was counted then

        def save(at: Tensor) -> None:
            state = {name: part.state_dict() for name, part in parts.items()}
            state |= {
                "head": head.detach(),
                "generator": at,
                "seconds": time.perf_counter() - began,
            }
            keeper.save({**state, "losses": losses, "step": step, "total": total})

        forward: Callable[[Tensor], Tensor] = wrap_ddp(encoder, device, trains_statistics=True)
        forward = torch.compile(forward) if compile else forward
        for epoch in bar(range(len(losses), recipe.epochs), "training", progress, unit="epoch"):
            beginning = generator.get_state()
            for batch, targets in draw_labelled(
                images, codes, recipe.batch_size, generator, device, step
            ):
                with autocast(amp, device):
                    embeddings = forward(batch)
                cosine = F.normalize(gather(embeddings.float(), len(targets))) @ F.normalize(head).T
                logits = arcface_logits(cosine, targets, recipe.scale, recipe.margin)
                loss = F.cross_entropy(logits, targets)
                norm = descend(loss, optimiser, scaler, same=[head])
                schedule.step()
                total += loss.detach() * len(targets) + 0 * norm  # not finite where either is not
                step += 1
                if keeper.due() and total.isfinite() and _finite(encoder, head):
                    save(beginning)
            losses.append(float(total) / len(codes))
            if not (math.isfinite(losses[-1]) and _finite(encoder, head)):
                raise FloatingPointError(
                    f"training diverged in epoch {epoch + 1} of {recipe.epochs}; lower "
                    f"learning_rate={recipe.learning_rate}"
                )
            step, total = 0, torch.zeros((), device=device)
            save(generator.get_state())
    plain = copy.deepcopy(start).cpu()  # without the layers that only a group of processes has
    plain.load_state_dict(encoder.state_dict())
    return Trained(plain.eval(), tuple(losses), time.perf_counter() - began)


def with_state(network: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """A copy of `network` on the CPU, in eval mode, that holds `state`."""
    network = copy.deepcopy(network).cpu().eval()
    network.load_state_dict(state)
    return network


def check_training(images: Images, recipe: Recipe, amp: bool | str) -> None:
    check_images(images)
    if not isinstance(recipe, Recipe):
        raise ValueError(f"recipe is a {type(recipe).__name__}; pass a Recipe")
    if amp not in TYPES:
        raise ValueError(f"amp={amp!r}; it is False, True, 'bfloat16' or 'float16'")


def _finite(encoder: nn.Module, head: Tensor) -> bool:
    """Whether the last step, whose weights have had no loss yet, has left only numbers."""
    return all(bool(tensor.isfinite().all()) for tensor in (*encoder.state_dict().values(), head))


def _identity(
    start: nn.Module, images: Images, people: np.ndarray, recipe: Recipe, amp: bool | str
) -> dict[str, object]:
    return {
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
    """Weights, gradients and momentum of encoder and head; activations; some copies of logits.

    A head of centroids takes the embeddings of all images first, twice: in parts and as a whole.
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
