"""Models that are trained once and then read from the cache."""

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import Tensor, nn

from cure_core.encoders.embedding import module_device, weight_arrays
from cure_core.encoders.images import Images, content_digest
from cure_core.encoders.model_files import read_model, write_model
from cure_core.files import digest, file_sha256
from cure_core.runtime.amp import TYPES, resolved
from cure_core.runtime.distributed import on_rank_zero, rank
from cure_core.training.arcface import Recipe, Trained, check_training, train, with_state
from cure_core.training.checkpoint import Checkpoint, restarting
from cure_study.cache import cached
from cure_study.code_version import PACKAGES, code_version
from cure_study.paths import cache_root

T = TypeVar("T")
PLAIN = (bool, int, float, str, tuple, type(None))
State = dict[str, Tensor]
Metadata = dict[str, Any]


def model_cached(
    kind: str,
    key: str,
    run: Callable[[Path], T],
    pack: Callable[[T], tuple[State, Metadata]],
    unpack: Callable[[State, Metadata], T],
) -> T:
    """The result of `run`, which trains a model with a checkpoint at the path it is given.

    It is cached as weights with metadata, to and from which `pack` and `unpack` convert it. An
    interrupted run resumes. If several processes need the same model, one trains it and the others
    wait. Raises what `run` raises, and OSError if the cache cannot be read or written.
    """
    path = cache_root() / f"{kind}s" / f"{key}.safetensors"

    def make() -> None:
        checkpoint = cache_root() / "checkpoints" / f"{kind}-{key}.pt"
        result = restarting(checkpoint, lambda: run(checkpoint))
        if rank() == 0:
            write_model(path, *pack(result))
            Checkpoint(checkpoint, {}).discard()

    return cached(path, make, lambda path: unpack(*read_model(path)))


def architecture(network: nn.Module) -> list[object]:
    """A network without the values of its weights: names, attributes, classes and their code."""
    described: list[object] = list(network.state_dict())
    for name, module in network.named_modules():
        plain = {k: v for k, v in vars(module).items() if k[0] != "_" and isinstance(v, PLAIN)}
        plain.pop("training", None)
        described += [name, type(module).__qualname__, repr(plain)]
    for source in sorted({type(module).__module__ for module in network.modules()}):
        package = source.partition(".")[0]
        if package in PACKAGES:
            described.append(code_version(source))
        elif package != "torch":
            path = getattr(sys.modules.get(source), "__file__", None)
            described += [source, file_sha256(Path(path)) if path else ""]
    return described


def train_cached(
    start: nn.Module, images: Images, people: np.ndarray, recipe: Recipe, **options: Any
) -> Trained:
    """`train`, cached under a digest of all that the result depends on: code, start, data, recipe.

    The seconds are those of the real training. Raises what `train` and `model_cached` raise.
    """
    amp = resolved(options.get("amp", False), options.get("device") or module_device(start))
    check_training(start, images, people, recipe, amp)
    half = (str(TYPES[amp]),) if amp else ()
    version = code_version("cure_core.training.arcface")
    content = (version, asdict(recipe), content_digest(images), np.asarray(people))
    return model_cached(
        "encoder",
        on_rank_zero(lambda: digest(*content, *architecture(start), *weight_arrays(start), *half)),
        run=lambda path: train(
            start, images, people, recipe, checkpoint=path, **options | {"amp": amp}
        ),
        pack=lambda result: (
            result.encoder.state_dict(),
            {"losses": result.losses, "seconds": result.seconds, "recipe": asdict(recipe)},
        ),
        unpack=lambda state, metadata: Trained(
            with_state(start, state), tuple(metadata["losses"]), metadata["seconds"]
        ),
    )
