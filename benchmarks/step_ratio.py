"""What a step of unlearning costs beside a bare forward, backward and optimiser step.

    PYTHONPATH=. python benchmarks/step_ratio.py [--encoder small] [--device cpu] [--steps 4]

Both run in one process, an epoch each in turn, so that whatever else the machine does slows both;
the ratio is the median over the rounds. The goal is 1.10 at most. With the small encoder it takes
about half a minute on one idle CPU core.
"""

import argparse
import copy
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cure_core.encoders import REGISTRY, build
from cure_core.encoders.embedding import embed
from cure_core.encoders.images import take
from cure_core.objectives import Setup
from cure_core.objectives.cure_plus import CurePlus
from cure_core.runtime.amp import autocast
from cure_core.training.batches import draw_batches
from cure_core.unlearning import CureConfig, UnlearningStep

LIMIT = 1.10
CLUSTERS = 32
RETAIN = 2048  # images, more than a processor's cache holds

Batches = Iterator[tuple[Tensor, dict[str, Tensor]]]


@dataclass(frozen=True)
class StepRatio:
    """Milliseconds a step (medians over the rounds), and each round's unlearn / bare."""

    encoder: str
    device: str
    batch: tuple[int, int]
    bare_ms: float
    unlearn_ms: float
    ratios: tuple[float, ...]
    machine: str

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    def __str__(self) -> str:
        cells = {
            "encoder": self.encoder,
            "device": self.device,
            "batch": f"{self.batch[0]} + {self.batch[1]}",
            "bare ms": f"{self.bare_ms:.1f}",
            "unlearn ms": f"{self.unlearn_ms:.1f}",
            "ratio": f"{self.ratio:.3f} ({min(self.ratios):.3f} to {max(self.ratios):.3f})",
            "machine": self.machine,
        }
        widths = [max(len(head), len(cell)) for head, cell in cells.items()]
        rows = (cells.keys(), cells.values())
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def step_ratio(
    encoder: str = "mobilefacenet",
    steps: int = 4,
    rounds: int = 7,
    device: str = "cpu",
    config: CureConfig | None = None,
) -> StepRatio:
    """Time `rounds` epochs of `steps` steps, bare and unlearning in turn, after one of each."""
    config = config or CureConfig(clusters=CLUSTERS)
    student = build(encoder)
    epochs = [
        bare_epoch(copy.deepcopy(student), steps, device, config),
        unlearning_epoch(student, steps, device, config),
    ]
    for epoch in epochs:
        epoch()
    bare, unlearn = [], []
    for _ in range(rounds):
        bare.append(_seconds(epochs[0], device))
        unlearn.append(_seconds(epochs[1], device))
    return StepRatio(
        encoder,
        device,
        config.batch_size,
        bare_ms=1000 * statistics.median(bare) / steps,
        unlearn_ms=1000 * statistics.median(unlearn) / steps,
        ratios=tuple(u / b for u, b in zip(unlearn, bare, strict=True)),
        machine=_machine(device),
    )


def bare_epoch(
    student: nn.Module, steps: int, device: str, config: CureConfig
) -> Callable[[], None]:
    """The yardstick: the batch is on the device, the loss is the least there is."""
    optimiser = _prepared(student, device, config)
    images = take(_images(sum(config.batch_size)), np.arange(sum(config.batch_size))).to(device)

    def epoch() -> None:
        for _ in range(steps):
            with autocast(config.amp, images.device):
                embeddings = student(images)
            loss = embeddings.square().sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()

    return epoch


def unlearning_epoch(
    student: nn.Module, steps: int, device: str, config: CureConfig
) -> Callable[..., None]:
    """An epoch as `unlearn` runs it, from the images in an array to the means of the terms.

    The epoch takes a generator `around` the batches: what it does before its first batch and after
    its last happens before and after all steps, the optimiser's included.
    """
    optimiser = _prepared(student, device, config)
    sets = (_images(steps * config.batch_size[0]), _images(RETAIN))
    generator = torch.Generator().manual_seed(config.seed)
    # What the teacher's embeddings are does not change the time; drawing them saves making them.
    dim = embed(student, sets[0][:2]).shape[1]
    draws = [torch.randn(2, len(images), dim, generator=generator) for images in sets]
    targets = [F.normalize(draw, dim=2).to(device) for draw in draws]
    goal = CurePlus(config)
    goal.start(Setup(student, sets[0], sets[1], targets[0], targets[1], torch.device(device)))
    weights = {**goal.weights, **config.weights}

    step = UnlearningStep(student, goal, weights, config, torch.device(device))
    step.optimiser = optimiser

    def epoch(around: Callable[[Batches], Batches] = iter) -> None:
        batches = draw_batches(sets, targets, config, generator, torch.device(device))
        losses = [step(images, known) for images, known in around(batches)]
        if not torch.stack(losses).isfinite().all():
            raise FloatingPointError("the loss is not finite; nothing is timed")

    return epoch


def _prepared(student: nn.Module, device: str, config: CureConfig) -> torch.optim.Optimizer:
    """Move the student as `unlearn` does, in place, and give it the same optimiser."""
    student.to(device).train(config.batchnorm == "train")
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    student.to(memory_format=layout)  # type: ignore[call-overload]
    return torch.optim.Adam(student.parameters(), lr=CurePlus.learning_rate)


def _images(count: int) -> np.ndarray:
    """As a data set's: in a memory map of a file, which vanishes with it."""
    with tempfile.TemporaryFile() as file:
        images = np.memmap(file, np.uint8, "w+", shape=(count, 112, 112, 3))
    rng = np.random.default_rng(0)
    for image in images:
        image[:] = rng.integers(0, 256, image.shape, np.uint8)
    return images


def _seconds(work: Callable[[], object], device: str) -> float:
    """Wall time of a piece of work: a GPU is waited for at its ends only, never in a step."""
    wait = torch.cuda.synchronize if torch.device(device).type == "cuda" else lambda: None
    wait()
    began = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - began


def _machine(device: str) -> str:
    """The processor or GPU, threads, the release of torch, and how busy the machine is."""
    if torch.device(device).type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        cpuinfo = Path("/proc/cpuinfo")
        lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        name = models[0] if models else platform.processor() or platform.machine()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    threads = torch.get_num_threads()
    return f"{name}, {threads} of {os.cpu_count()} threads{load}, torch {torch.__version__}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--encoder", choices=sorted(REGISTRY), default="mobilefacenet")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=4, help="in an epoch")
    parser.add_argument("--rounds", type=int, default=7, help="epochs of each kind")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    print(step_ratio(options.encoder, options.steps, options.rounds, options.device))
    return 0


if __name__ == "__main__":
    sys.exit(main())
