"""Encoders trained once: kept in the cache under what they were trained from."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from cure_core.encoders.embedding import Images, content_digest, weight_arrays
from cure_core.encoders.model_files import read_model, write_model
from cure_core.files import digest
from cure_core.runtime.distributed import on_rank_zero, rank
from cure_core.runtime.precision import TYPES
from cure_core.training.arcface import Recipe, Trained, check_training, train, with_state
from cure_core.training.checkpoint import Checkpoint, restarting
from cure_study.cache import cached
from cure_study.paths import cache_root

VERSION = 2  # part of the cache's key: raise it when the same recipe would train another encoder


def train_cached(
    start: nn.Module, images: Images, people: np.ndarray, recipe: Recipe, **options: Any
) -> Trained:
    """As `train`, kept in the cache under the hash of all that made it: start, data, recipe.

    A training that was stopped goes on where it was. Of several processes that ask for the same,
    one trains and the others wait. The seconds are those of the first, real training.
    Raises what `train` raises, and OSError where the cache cannot be read or written.
    """
    check_training(images, recipe, options.get("amp", False))
    kind = (type(start).__qualname__, *start.state_dict())
    half = (str(TYPES[options["amp"]]),) if options.get("amp") else ()
    made = (VERSION, asdict(recipe), content_digest(images), np.asarray(people), *kind)
    key = on_rank_zero(lambda: digest(*made, *weight_arrays(start), *half))
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
