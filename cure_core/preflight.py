"""Checks before unlearning begins: arguments, images, terms, memory, and whose run it is."""

import copy
import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cure_core.config import CureConfig
from cure_core.encoders.embedding import Images, content_digest, module_device, take, weight_arrays
from cure_core.files import digest
from cure_core.objectives.base import Objective
from cure_core.runtime.memory import check_memory, footprint

COMPARED = 4096  # images: so many are searched for shared ones in a fraction of a second


def check_teacher(teacher: nn.Module) -> None:
    """Raise ValueError for what is no network, and for one without a parameter to train."""
    if not isinstance(teacher, nn.Module):
        raise ValueError(
            f"the teacher is {teacher!r:.80}, a {type(teacher).__name__}; expected an nn.Module, "
            "such as cure_core.encoders.build(name, weights)"
        )
    if not any(parameter.requires_grad for parameter in teacher.parameters()):
        raise ValueError(
            "every parameter of the teacher is frozen; call teacher.requires_grad_(True)"
        )


def check_output(teacher: nn.Module, images: Images) -> None:
    """Raise ValueError for a network that does not embed an image: uint8 in, float (1, D) out."""
    image = take(images, np.arange(1)).to(module_device(teacher))
    try:
        with torch.inference_mode():
            raw = copy.deepcopy(teacher).eval()(image)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise ValueError(
            f"the teacher fails on an image, uint8 (1, 3, 112, 112): {error}; "
            "cure_core.encoders.Adapted adds preprocessing"
        ) from error
    if not isinstance(raw, Tensor) or raw.ndim != 2 or not raw.is_floating_point():
        given = f"{raw.dtype} {tuple(raw.shape)}" if isinstance(raw, Tensor) else type(raw).__name__
        raise ValueError(f"the teacher turns an image into {given}; expected float (1, D)")


def check_device(device: torch.device | str | None, teacher: nn.Module) -> torch.device:
    """The device to work on, the teacher's for None. Raises ValueError for an unavailable one."""
    try:
        chosen = torch.device(device) if device is not None else module_device(teacher)
        torch.empty(0, device=chosen)
    except (RuntimeError, TypeError, AssertionError) as error:
        raise ValueError(f"device={device!r} is not available: {error}") from error
    return chosen


def check_path(checkpoint: str | Path | None) -> Path | None:
    """The file of a checkpoint. Raises ValueError for what names no file."""
    if checkpoint is None:
        return None
    if not isinstance(checkpoint, str | Path) or not Path(checkpoint).name:
        raise ValueError(f"checkpoint={checkpoint!r}; expected the path of a file, or None")
    if Path(checkpoint).is_dir():
        raise ValueError(f"checkpoint={str(checkpoint)!r} is a folder; expected the path of a file")
    return Path(checkpoint)


def check_config(config: object) -> CureConfig:
    """The settings to unlearn by; the defaults for None. Raises ValueError for another type."""
    if config is None:
        return CureConfig()
    if not isinstance(config, CureConfig):
        raise ValueError(
            f"config is a {type(config).__name__}; expected a CureConfig: of a dict, "
            "CureConfig(**settings)"
        )
    return config


def check_sets(forget: Images, retain: Images) -> None:
    """Raise ValueError for what are no images or more than images, and for a forget set kept whole.

    A part of it that is in both sets is named in a warning. Shared images are searched for among
    arrays of `COMPARED` images together at most.
    """
    for name, images in (("forget", forget), ("retain", retain)):
        if isinstance(images, str | bytes | dict) or not (
            hasattr(images, "__len__") and hasattr(images, "__getitem__")
        ):
            raise ValueError(
                f"the {name} set is a {type(images).__name__}; expected images: a uint8 array "
                "(N, 112, 112, 3), a memory map, or a data set of such images"
            )
        if len(images) == 0:
            raise ValueError(f"the {name} set is empty; unlearning needs both sets")
        try:
            first = images[0]
        except Exception as error:
            raise ValueError(
                f"the {name} set, a {type(images).__name__}, gives no first image ({error!r})"
            ) from error
        if isinstance(first, tuple | list | dict):
            raise ValueError(
                f"the {name} set yields {type(first).__name__}; expected images and nothing else: "
                "labels have no place here"
            )
        first = np.asarray(first)
        if first.dtype != np.uint8 or first.shape != (112, 112, 3):
            raise ValueError(
                f"the {name} set holds {first.dtype} images of shape {first.shape}; "
                "expected uint8 of shape (112, 112, 3)"
            )
    if forget is retain:
        raise ValueError("forget and retain are the same set; pass what must go and what must stay")
    arrays = hasattr(forget, "shape") and hasattr(retain, "shape")
    if arrays and len(forget) + len(retain) <= COMPARED:
        _check_disjoint(forget, retain)


def _check_disjoint(forget: Images, retain: Images) -> None:
    kept = {content: i for i, content in enumerate(_contents(retain))}
    both = [(i, kept[content]) for i, content in enumerate(_contents(forget)) if content in kept]
    if not both:
        return
    message = (
        f"forget and retain share {len(both)} of {len(forget)} forget images (first: forget "
        f"{both[0][0]} is retain {both[0][1]}); remove them from one of the sets"
    )
    if len(both) == len(forget):
        raise ValueError(message)
    warnings.warn(message, stacklevel=4)  # a data set may hold an image twice


def _contents(images: Images) -> Iterator[bytes]:
    """A digest of each image."""
    for start in range(0, len(images), 256):
        rows = np.arange(start, min(start + 256, len(images)))
        for image in take(images, rows).cpu().numpy():
            yield hashlib.sha256(np.ascontiguousarray(image).data).digest()


def check_views(views: tuple[Tensor, Tensor], forget: Images, retain: Images) -> None:
    """Raise ValueError for what are no `teacher_views` of these sets."""
    pair = views if isinstance(views, tuple | list) else ()
    shapes = [tuple(getattr(view, "shape", ())) for view in pair]
    sizes = [(2, len(images)) for images in (forget, retain)]
    if [shape[:2] for shape in shapes] != sizes or any(len(shape) != 3 for shape in shapes):
        raise ValueError(
            f"views of shapes {shapes} for {len(forget)} forget and {len(retain)} retain images; "
            "pass (teacher_views(teacher, forget), teacher_views(teacher, retain))"
        )
    if not all(bool(view.isfinite().all()) for view in views):
        raise ValueError("the views hold NaN or infinity; the teacher's weights may be damaged")


def term_weights(objective: Objective, config: CureConfig) -> dict[str, float]:
    """Each loss term's weight. Raises ValueError for an unknown term, and where all are 0."""
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


def identity(
    teacher: nn.Module, forget: Images, retain: Images, config: CureConfig, objective: Objective
) -> dict[str, object]:
    """What a checkpoint is for: settings, and digests of the teacher and of both sets."""
    return {
        **{f"config.{name}": value for name, value in asdict(config).items()},
        "objective": objective.described(),
        "teacher": digest(*weight_arrays(teacher)),
        "forget": content_digest(forget),
        "retain": content_digest(retain),
    }


def check_fits(
    teacher: nn.Module,
    forget: Images,
    retain: Images,
    config: CureConfig,
    device: torch.device,
    saves: bool = False,
) -> None:
    """Raise MemoryError for batches that cannot fit.

    Counted are weights, gradients, Adam's two and the last good ones; both sides' views of the
    teacher, twice more while they are written (`saves`); and the activations.
    """
    need = footprint(teacher, device, config.amp, config.batchnorm == "train")
    views = 2 * 4 * need.dim * (len(forget) + len(retain))
    size = tuple(min(b, len(s)) for b, s in zip(config.batch_size, (forget, retain), strict=True))
    fixed = 5 * need.weights + need.step + views
    checkpoint = 2 * 4 * need.weights
    host = views * (3 if saves else 1) + checkpoint
    check_memory({"batch_size": size}, need.image, fixed, device, host=host)
