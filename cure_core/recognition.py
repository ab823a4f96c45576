"""ArcFace training: written once, for the teacher and for the oracle."""

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cure_core.embedding import (
    Images,
    content_digest,
    embed,
    module_device,
    raw_embeddings,
    take,
)
from cure_core.files import atomic_path, cache_root, digest
from cure_core.memory import keep_freed_memory
from cure_core.progress import bar

VERSION = 2  # part of the cache's key: raise it when the same recipe would train another encoder


@dataclass(frozen=True)
class Recipe:
    """How an encoder is trained; all of it our choice. Rates follow a cosine after a warm-up.

    `head` starts the ArcFace weights at random, or, where the encoder has learnt faces before, at
    each person's mean embedding, which spares it the push of a head that knows nothing.
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
        if self.head not in ("random", "centroids"):
            raise ValueError(f"head={self.head!r}; it is 'random' or 'centroids'")


@dataclass(frozen=True, repr=False)
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
    progress: bool | None = False,
) -> Trained:
    """Train a copy of `start` to tell `people` apart; `start` itself is left as it is.

    `images` as in `embed`, `people` (N,) any integers, one an image. Batches are shuffled and half
    of the images mirrored, all from the recipe's seed. The ArcFace head is thrown away. `compile`:
    by torch.compile.
    Raises ValueError for fewer than two people, and FloatingPointError when the loss diverges.
    """
    recipe = recipe or Recipe()
    names, codes = np.unique(np.asarray(people), return_inverse=True)
    if len(names) < 2 or len(codes) != len(images):
        raise ValueError(
            f"training needs one label an image and two people at least, got {len(images)} images, "
            f"{len(codes)} labels and {len(names)} people"
        )
    keep_freed_memory()
    began = time.perf_counter()
    device = torch.device(device) if device is not None else module_device(start)
    encoder = copy.deepcopy(start).to(device).train()
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    generator = torch.Generator().manual_seed(recipe.seed)
    probe = copy.deepcopy(start)  # embedding moves an encoder to the device
    if recipe.head == "centroids":
        weights = _person_means(embed(probe, images, device=device), codes)
    else:
        dim = raw_embeddings(probe, images[:1], device=device).shape[1]
        weights = torch.randn(len(names), dim, generator=generator)
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
    forward = torch.compile(encoder) if compile else encoder
    losses = []
    for epoch in bar(range(recipe.epochs), "training", progress, unit="epoch"):
        total = torch.zeros((), device=device)
        for index in _batches(len(codes), recipe.batch_size, generator):
            batch = take(images, index).to(device, memory_format=torch.channels_last)
            mirrored = torch.rand(len(index), generator=generator) < 0.5
            batch = torch.where(mirrored.to(device)[:, None, None, None], batch.flip(-1), batch)
            targets = torch.from_numpy(codes[index]).to(device)
            cosine = F.normalize(forward(batch)) @ F.normalize(head).T
            logits = arcface_logits(cosine, targets, recipe.scale, recipe.margin)
            loss = F.cross_entropy(logits, targets)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.detach() * len(index)
        losses.append(float(total) / len(codes))
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(
                f"training diverged in epoch {epoch + 1} of {recipe.epochs}; lower "
                f"learning_rate={recipe.learning_rate}"
            )
    return Trained(encoder.cpu().eval(), tuple(losses), time.perf_counter() - began)


def train_cached(
    start: nn.Module, images: Images, people: np.ndarray, recipe: Recipe, **options: object
) -> Trained:
    """As `train`, kept in the cache under the hash of all that made it: start, data, recipe.

    The seconds are those of the first, real training.
    """
    from safetensors import safe_open
    from safetensors.torch import save

    kind = (type(start).__qualname__, *start.state_dict())
    weights = (tensor.cpu().numpy() for tensor in start.state_dict().values())
    key = digest(
        VERSION, asdict(recipe), content_digest(images), np.asarray(people), *kind, *weights
    )
    path = cache_root() / "encoders" / f"{key}.safetensors"
    if not path.is_file():
        result = train(start, images, people, recipe, **options)  # type: ignore[arg-type]
        made = {"losses": result.losses, "seconds": result.seconds, "recipe": asdict(recipe)}
        state = {name: tensor.contiguous() for name, tensor in result.encoder.state_dict().items()}
        with atomic_path(path) as temporary:
            temporary.write_bytes(save(state, metadata={"made": json.dumps(made)}))
    with safe_open(path, framework="pt") as file:
        made = json.loads(file.metadata()["made"])
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    encoder = copy.deepcopy(start).cpu().eval()
    encoder.load_state_dict(state)
    return Trained(encoder, tuple(made["losses"]), made["seconds"])


def _person_means(embeddings: Tensor, codes: np.ndarray) -> Tensor:
    sums = embeddings.new_zeros(int(codes.max()) + 1, embeddings.shape[1])
    return F.normalize(sums.index_add_(0, torch.from_numpy(codes), embeddings))


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[np.ndarray]:
    order = torch.randperm(count, generator=generator).numpy()
    batches = [order[first : first + size] for first in range(0, count, size)]
    if len(batches) > 1 and len(batches[-1]) == 1:  # batch norm cannot train on one sample
        batches[-2:] = [np.concatenate(batches[-2:])]
    yield from batches


def _warm_cosine(steps: int, warmup: float) -> Callable[[int], float]:
    rising = max(1, round(steps * warmup))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))

    return factor
