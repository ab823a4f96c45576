"""What is looked at before unlearning begins: images, terms, memory, and whose run it is."""

from dataclasses import asdict

import numpy as np
import torch
from torch import nn

from cure_core.config import CureConfig
from cure_core.embedding import Images, content_digest, weight_arrays
from cure_core.files import digest
from cure_core.memory import check_memory, footprint
from cure_core.objectives.base import Objective


def check_sets(forget: Images, retain: Images) -> None:
    """Raise ValueError for an empty set, and for what are no images or more than images."""
    for name, images in (("forget", forget), ("retain", retain)):
        if len(images) == 0:
            raise ValueError(f"the {name} set is empty; unlearning needs both sets")
        first = images[0]
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
    teacher: nn.Module, forget: Images, retain: Images, config: CureConfig, device: torch.device
) -> None:
    """Raise MemoryError for batches that cannot fit.

    Counted are weights, gradients, Adam's two and the last good ones; both sides' views of the
    teacher; and the activations.
    """
    need = footprint(teacher, device, config.amp, config.batchnorm == "train")
    views = 2 * 4 * need.dim * (len(forget) + len(retain))
    size = tuple(min(b, len(s)) for b, s in zip(config.batch_size, (forget, retain), strict=True))
    fixed = 5 * need.weights + need.step + views
    checkpoint = 2 * 4 * need.weights
    check_memory({"batch_size": size}, need.image, fixed, device, host=views + checkpoint)
