"""Checks of everything that `unlearn` is given, before any work starts."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cure_core.config import CureConfig
from cure_core.encoders.embedding import module_device, weight_arrays
from cure_core.encoders.images import Images, check_sets, content_digest, take
from cure_core.files import digest
from cure_core.objectives import Objective, make_objective
from cure_core.runtime.amp import resolved
from cure_core.training.batches import batch_sizes
from cure_core.training.footprint import check_memory, footprint
from cure_core.training.loop import FORMAT

PROBE = 64  # images that show whether the student's embeddings are finite


class CheckedArguments(NamedTuple):
    """The checked arguments of `unlearn`.

    `probe` are a few forget images on `device`, uint8 (B, 3, H, W); `weights` those of the
    objective's loss terms.
    """

    forget: Images
    retain: Images
    probe: Tensor
    config: CureConfig
    objective: Objective
    weights: Mapping[str, float]
    checkpoint: Path | None
    device: torch.device


def check_arguments(
    teacher: nn.Module,
    forget: Images,
    retain: Images,
    config: CureConfig | None,
    objective: str | Callable[[CureConfig], Objective],
    views: tuple[Tensor, Tensor] | None,
    checkpoint: str | Path | None,
    device: torch.device | str | None,
    on_epoch: object,
) -> CheckedArguments:
    """The arguments of `unlearn` with defaults filled in. Raises what `unlearn` documents."""
    check_teacher(teacher)
    config = check_config(config)
    check_sets(forget, retain, teacher)
    sizes = len(forget), len(retain)
    method = make_objective(objective, config)
    config = method.config
    method.check_sizes(*sizes)
    weights = term_weights(method, config)
    if views is not None:
        check_views(views, *sizes)
    if on_epoch is not None and not callable(on_epoch):
        raise ValueError(f"on_epoch={on_epoch!r}; expected a function of the student, or None")
    path = check_path(checkpoint)
    chosen = check_device(device, teacher)
    config = replace(config, amp=resolved(config.amp, chosen))
    probe = take(forget, np.arange(min(PROBE, len(forget)))).to(chosen)
    check_output(teacher, probe[:1])
    if weights:
        batch = batch_sizes(sizes, config, method.shows_forget)
        check_fits(teacher, sizes, batch, config, chosen, path is not None and views is None)
    return CheckedArguments(forget, retain, probe, config, method, weights, path, chosen)


def check_teacher(teacher: nn.Module) -> None:
    """Raise ValueError for anything but a network with a parameter to train."""
    if not isinstance(teacher, nn.Module):
        raise ValueError(
            f"the teacher is {teacher!r:.80}, a {type(teacher).__name__}; expected an nn.Module, "
            "such as cure_core.encoders.build(name, weights)"
        )
    if not any(parameter.requires_grad for parameter in teacher.parameters()):
        raise ValueError(
            "every parameter of the teacher is frozen; call teacher.requires_grad_(True)"
        )


def check_output(teacher: nn.Module, image: Tensor) -> None:
    """Raise ValueError unless the network maps a uint8 image to a float (1, D) embedding."""
    try:
        with torch.inference_mode():
            raw = copy.deepcopy(teacher).eval()(image.to(module_device(teacher)))
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise ValueError(
            f"the teacher fails on an image, uint8 {tuple(image.shape)}: {error}; "
            "cure_core.encoders.Adapted adds preprocessing"
        ) from error
    if not isinstance(raw, Tensor) or raw.ndim != 2 or not raw.is_floating_point():
        shape = f" {tuple(raw.shape)}" if isinstance(raw, Tensor) else ""
        output = f"{getattr(raw, 'dtype', type(raw).__name__)}{shape}"
        raise ValueError(f"the teacher turns an image into {output}; expected float (1, D)")


def check_device(device: torch.device | str | None, teacher: nn.Module) -> torch.device:
    """The device to train on, by default the teacher's. Raises ValueError if it is unavailable."""
    try:
        chosen = torch.device(device) if device is not None else module_device(teacher)
        torch.empty(0, device=chosen)
    except (RuntimeError, TypeError, AssertionError) as error:
        raise ValueError(f"device={device!r} is not available: {error}") from error
    return chosen


def check_path(checkpoint: str | Path | None) -> Path | None:
    """The path of the checkpoint. Raises ValueError if it cannot be a file."""
    if checkpoint is None:
        return None
    if not isinstance(checkpoint, str | Path) or not Path(checkpoint).name:
        raise ValueError(f"checkpoint={checkpoint!r}; expected the path of a file, or None")
    if Path(checkpoint).is_dir():
        raise ValueError(f"checkpoint={str(checkpoint)!r} is a folder; expected the path of a file")
    return Path(checkpoint)


def check_config(config: object) -> CureConfig:
    """The config, by default `CureConfig()`. Raises ValueError for another type."""
    if config is None:
        return CureConfig()
    if not isinstance(config, CureConfig):
        raise ValueError(
            f"config is a {type(config).__name__}; expected a CureConfig; for a "
            "dict, CureConfig(**settings)"
        )
    return config


def check_views(views: tuple[Tensor, Tensor], n_forget: int, n_retain: int) -> None:
    """Raise ValueError unless `views` are the `teacher_views` of sets of these sizes."""
    pair = views if isinstance(views, tuple | list) else ()
    shapes = [tuple(getattr(view, "shape", ())) for view in pair]
    expected = [(2, n_forget), (2, n_retain)]
    if [shape[:2] for shape in shapes] != expected or any(len(shape) != 3 for shape in shapes):
        raise ValueError(
            f"views of shapes {shapes} for {n_forget} forget and {n_retain} retain images; "
            "pass (teacher_views(teacher, forget), teacher_views(teacher, retain))"
        )
    if not all(bool(view.isfinite().all()) for view in views):
        raise ValueError("the views hold NaN or infinity; the teacher's weights may be damaged")


def term_weights(objective: Objective, config: CureConfig) -> dict[str, float]:
    """Each loss term's weight. Raises ValueError for an unknown term, and if all are 0."""
    unknown = sorted(config.weights.keys() - objective.weights.keys())
    if unknown:
        raise ValueError(
            f"no loss term {', '.join(unknown)} in {type(objective).__name__}; "
            f"its terms are {', '.join(objective.weights)}"
        )
    weights = {name: float(w) for name, w in {**objective.weights, **config.weights}.items()}
    if weights and not any(weights.values()):
        raise ValueError(f"every weight is 0 ({', '.join(weights)}); give one loss term a weight")
    return weights


def run_identity(teacher: nn.Module, checked: CheckedArguments) -> dict[str, object]:
    """What a checkpoint belongs to: settings, and digests of the teacher and of both sets."""
    return {
        "format": FORMAT,
        **{f"config.{name}": value for name, value in asdict(checked.config).items()},
        "objective": checked.objective.described(),
        "teacher": digest(*weight_arrays(teacher)),
        "forget": content_digest(checked.forget),
        "retain": content_digest(checked.retain),
    }


def check_fits(
    teacher: nn.Module,
    sizes: tuple[int, int],
    batch: tuple[int, int],
    config: CureConfig,
    device: torch.device,
    writes_views: bool,
) -> None:
    """Raise MemoryError for batches that cannot fit.

    Counted are the weights five times (student, gradients, two Adam moments, fallback), the
    teacher's embeddings of both sets, twice more if they are written to disk, and activations.
    """
    need = footprint(teacher, device, config.amp, config.batchnorm == "train")
    views = 2 * 4 * need.dim * sum(sizes)
    fixed = 5 * need.weights + need.step + views
    checkpoint = 2 * 4 * need.weights
    host = views * (3 if writes_views else 1) + checkpoint
    check_memory({"batch_size": batch}, need.image, fixed, device, host=host)
