"""Encoders by name."""

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from cure_core.checks import nearest
from cure_core.encoders.images import image_size
from cure_core.encoders.iresnet import UNITS, IResNet
from cure_core.encoders.mobilefacenet import MobileFaceNet
from cure_core.encoders.small import SmallEncoder
from cure_core.encoders.weights import load_weights, read_weights
from cure_core.runtime.randomness import seeded

REGISTRY: dict[str, Callable[[], nn.Module]] = {
    "mobilefacenet": MobileFaceNet,
    "small": SmallEncoder,
    **{name: partial(IResNet, units) for name, units in UNITS.items()},
}


def build(name: str, weights: str | Path | None = None, *, seed: int = 0) -> nn.Module:
    """A named encoder in eval mode, freshly initialised from `seed` or with `weights` loaded.

    `name` is in `REGISTRY`, or "module:function" for a function that takes no arguments and returns
    an encoder (`Adapted` adds preprocessing). `weights` is the path of a safetensors file, or of a
    `torch.save` file, which is read without unpickling code: a state dict, or a checkpoint that
    holds one under any key or prefix. Tensors outside that prefix (a classifier, an optimiser) are
    ignored; batch norm counters may be missing; half precision is converted.
    The global random state is left unchanged.
    Raises FileNotFoundError for a missing file, and ValueError for an unknown name, for tensors
    that do not fit the encoder or are not finite, and if the function returns no encoder.
    """
    if not isinstance(name, str) or (name not in REGISTRY and ":" not in name):
        raise ValueError(
            f"no encoder {name!r}; {nearest(name, sorted(REGISTRY))}, and 'module:function' for "
            "your own"
        )
    state = None if weights is None else read_weights(weights)
    with seeded(seed):
        encoder = _external(name) if ":" in name else REGISTRY[name]()
    if state is not None:
        load_weights(encoder, state, f"{weights}")
    return encoder.eval()


def _external(name: str) -> nn.Module:
    """The encoder that `module:function` returns, tested on one image."""
    module, _, function = name.partition(":")
    try:
        encoder = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cannot make the encoder {name}: {error}") from error
    if not isinstance(encoder, nn.Module):
        raise ValueError(f"{name} gives a {type(encoder).__name__}; expected an nn.Module")
    with torch.inference_mode():
        raw = encoder.eval()(torch.zeros(1, 3, *image_size(encoder), dtype=torch.uint8))
    if not isinstance(raw, Tensor) or raw.dtype != torch.float32 or raw.dim() != 2 or len(raw) != 1:
        raise ValueError(
            f"{name} turns one image into {tuple(getattr(raw, 'shape', ()))}; expected float32 "
            "(1, D) from uint8 (1, 3, *image_size); cure_core.encoders.Adapted adds preprocessing"
        )
    return encoder
