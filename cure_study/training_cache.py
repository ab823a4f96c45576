"""Encoders that are trained once and then read from the cache."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from cure_core.encoders.embedding import weight_arrays
from cure_core.encoders.images import Images, content_digest
from cure_core.encoders.model_files import read_model, write_model
from cure_core.files import digest
from cure_core.runtime.amp import TYPES
from cure_core.runtime.distributed import on_rank_zero, rank
from cure_core.training.arcface import Recipe, Trained, check_training, train, with_state
from cure_core.training.checkpoint import Checkpoint, restarting
from cure_study.cache import cached
from cure_study.code_version import code_version
from cure_study.paths import cache_root


def train_cached(
    start: nn.Module, images: Images, people: np.ndarray, recipe: Recipe, **options: Any
) -> Trained:
    """`train`, cached under a digest of all that the result depends on: code, start, data, recipe.

    An interrupted training resumes. If several processes need the same encoder, one trains it and
    the others wait. The seconds are those of the real training.
    Raises what `train` raises, and OSError if the cache cannot be read or written.
    """
    check_training(images, people, recipe, options.get("amp", False))
    kind = (type(start).__qualname__, *start.state_dict())
    half = (str(TYPES[options["amp"]]),) if options.get("amp") else ()
    version = code_version("cure_core.training.arcface")
    content = (version, asdict(recipe), content_digest(images), np.asarray(people), *kind)
    key = on_rank_zero(lambda: digest(*content, *weight_arrays(start), *half))
    path = cache_root() / "encoders" / f"{key}.safetensors"

    def make() -> None:
        stopped = cache_root() / "checkpoints" / f"encoder-{key}.pt"
        result = restarting(
            stopped, lambda: train(start, images, people, recipe, checkpoint=stopped, **options)
        )
        if rank() == 0:
            made = {"losses": result.losses, "seconds": result.seconds, "recipe": asdict(recipe)}
            write_model(path, result.encoder.state_dict(), made)
            Checkpoint(stopped, {}).discard()

    def read(path: Path) -> Trained:
        state, made = read_model(path)
        return Trained(with_state(start, state), tuple(made["losses"]), made["seconds"])

    return cached(path, make, read)
