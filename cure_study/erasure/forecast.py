"""How long a request will take on this machine, and how much memory: said before any work."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import psutil
import torch

from cure_core.config import CureConfig
from cure_core.encoders.embedding import module_device
from cure_core.encoders.images import take
from cure_core.runtime.amp import autocast, resolved
from cure_core.training.batches import batch_sizes, epoch_steps
from cure_core.training.footprint import MARGIN, footprint
from cure_study.erasure.files import RequestFiles
from cure_study.evaluation.space import CHANGES

PROBED = 32  # images embedded to measure the speed


@dataclass(frozen=True)
class Forecast:
    """Images to embed, epochs and steps; the seconds of both parts, and the bytes of memory."""

    embedded: int
    epochs: int
    steps: int
    embedding_seconds: float
    unlearning_seconds: float
    bytes: int

    @property
    def seconds(self) -> float:
        return self.embedding_seconds + self.unlearning_seconds

    def __repr__(self) -> str:
        return (
            f"embedding {self.embedded:,} images, then {self.epochs} epochs of "
            f"{self.steps // self.epochs:,} steps: about {duration(self.seconds)} on this machine; "
            f"needs {self.bytes / 1e9:.1f} GB of memory"
        )


def forecast(files: RequestFiles) -> Forecast:
    """Measured with one batch of the request's images in each part; takes a second or two."""
    setting, config = files.setting, files.setting.config(len(files.forget), len(files.retain))
    device = torch.device(setting.device) if setting.device else module_device(files.encoder)
    total, forget = len(files.folder.files), len(files.forget)
    strangers = len(files.strangers.files) if files.strangers else 0
    attacked = len(CHANGES) * (forget + 2 * strangers) * bool(strangers)
    # The encoder before and after each embeds everything; the training needs two views of its sets.
    embedded = 2 * (total + strangers + attacked) + 2 * (forget + len(files.retain))
    shows_forget = setting.objective.shows_forget
    sizes, epochs = (forget, len(files.retain)), setting.objective.passes(config)
    batch = sum(batch_sizes(sizes, config, shows_forget))
    steps = epochs * epoch_steps(sizes, config, shows_forget)
    each, step = _speed(files, config, device, batch)
    need = footprint(files.encoder, device, resolved(config.amp, device), True)
    memory = (
        psutil.Process().memory_info().rss
        + 5 * need.weights
        + need.step
        + MARGIN * need.image * batch
        + 4 * need.dim * (2 * total + 2 * forget + 2 * len(files.retain))
    )
    return Forecast(embedded, epochs, steps, embedded * each, steps * step, int(memory))


def duration(seconds: float) -> str:
    """As in "40 seconds", "9 minutes", "2.5 hours"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _speed(
    files: RequestFiles, config: CureConfig, device: torch.device, batch: int
) -> tuple[float, float]:
    """Seconds to embed an image, and to train on a batch; each measured after a warm-up."""
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    model = copy.deepcopy(files.encoder).to(device).to(memory_format=layout)  # type: ignore[call-overload]
    images = take(files.folder.images, np.arange(batch) % len(files.folder.images)).to(device)
    probe = images[np.arange(PROBED) % len(images)]
    amp = resolved(config.amp, device)

    def embed() -> None:
        with torch.inference_mode():
            model.eval()(probe)

    def train() -> None:
        model.train()
        with autocast(amp, device):
            loss = model(images).float().square().mean()
        loss.backward()
        model.zero_grad()

    return _seconds(embed, device) / PROBED, _seconds(train, device)


def _seconds(work: Callable[[], None], device: torch.device) -> float:
    def once() -> float:
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    once()
    return once()
