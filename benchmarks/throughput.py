"""Images a second of unlearning beside a bare step, and whether memory grows with the steps.

    PYTHONPATH=. python benchmarks/throughput.py [--steps 200]

On a GPU: IResNet-50 in bfloat16, 256 + 256 images a step. On a CPU: the small encoder, 32 + 32.
Needs torch, numpy and pandas beside `cure_core`. The images of the bare step (forward, backward,
optimiser) are on the device already; unlearning reads its own from a memory map on disk, draws,
mirrors, and computes every term. Both run in turn in one process, so that whatever else the
machine does slows both. Exit code 0 when unlearning reaches 0.9 of the bare step and memory stays.
"""

import argparse
import gc
import json
import sys
from pathlib import Path

import torch
from step_ratio import step_ratio, unlearning_epoch

from cure_core.encoders import REGISTRY, build
from cure_core.training.footprint import footprint
from cure_core.unlearning import CureConfig

LEAST = 0.9  # of the bare step's images a second
GROWTH = 2**20  # bytes that the steps may add and keep: none, but for the runtime's own accounts
SIZES: dict[str, tuple[str, tuple[int, int], bool | str]] = {
    "cuda": ("iresnet50", (256, 256), "bfloat16"),
    "cpu": ("small", (32, 32), False),
}


def growth(encoder: str, steps: int, device: str, config: CureConfig) -> tuple[float, float]:
    """Bytes held more after `steps` further steps than before them, and the peak in them."""
    epoch = unlearning_epoch(build(encoder), steps, device, config)
    for _ in range(2):
        epoch()
    gc.collect()
    before = _held(device)
    epoch()
    gc.collect()
    return _held(device) - before, _peak(device)


def _held(device: str) -> float:
    """Bytes of live tensors on a GPU; what the process keeps for itself on a CPU (Linux)."""
    if torch.device(device).type == "cuda":
        return torch.cuda.memory_allocated(device)
    return _status("RssAnon")


def _peak(device: str) -> float:
    """The most bytes there were at once; on a CPU all of the process's, libraries included."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _status("VmHWM")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--encoder", choices=sorted(REGISTRY))
    parser.add_argument("--batch", type=int, nargs=2, metavar=("FORGET", "RETAIN"))
    parser.add_argument("--steps", type=int, default=8, help="in an epoch")
    parser.add_argument("--rounds", type=int, default=7, help="epochs of each kind")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--out", type=Path, help="append the result here, a line of JSON")
    options = parser.parse_args(arguments)
    encoder, batch, amp = SIZES[torch.device(options.device).type]
    encoder, batch = options.encoder or encoder, tuple(options.batch or batch)
    config = CureConfig(clusters=32, batch_size=batch, amp=amp, compile=options.compile)
    measured = step_ratio(encoder, options.steps, options.rounds, options.device, config)
    print(measured)
    grown, peak = growth(encoder, options.steps, options.device, config)
    need = footprint(build(encoder), torch.device(options.device), amp, train=True)
    images = sum(batch)
    result = {
        "encoder": encoder,
        "device": measured.machine,
        "batch": batch,
        "amp": amp,
        "compile": options.compile,
        "bare_images_per_second": round(1000 * images / measured.bare_ms, 1),
        "images_per_second": round(1000 * images / measured.unlearn_ms, 1),
        "ratio": round(1 / measured.ratio, 3),
        "grown_bytes": grown,
        "peak_gb": round(peak / 1e9, 3),
        "estimated_gb": round((4 * need.weights + need.step + need.image * images) / 1e9, 3),
    }
    for name, value in result.items():
        print(f"{name:24} {value}")
    if options.out is not None:
        with options.out.open("a") as file:
            file.write(json.dumps(result) + "\n")
    return int(result["ratio"] < LEAST or grown > GROWTH)


if __name__ == "__main__":
    sys.exit(main())
