"""How the cost of a study grows, and what it predicts for CASIA-WebFace on one GPU.

    PYTHONPATH=. python benchmarks/cost.py [--samples 1000 10000 --clusters 10 100 --out cost.csv]

Measures, on whatever device there is: embedding and K-means over the number of images N and of
clusters K, and unlearning over the share that is forgotten. All three grow as they should when the
last column, seconds over the work done, stays level. Then it reckons CASIA-WebFace with IResNet-50
from counted operations and from what is assumed of the GPU, or from `--rate`, the images a second
that `throughput.py` has measured there. Needs torch, numpy and pandas beside `cure_core`. As it
stands it takes about a minute on an idle core; `--full`, N to 100,000 and K to 10,000, four on two.
"""

import argparse
import math
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from step_ratio import _images, _seconds
from torch.utils.flop_counter import FlopCounterMode

from cure_core.clustering import kmeans
from cure_core.encoders import build
from cure_core.encoders.embedding import embed
from cure_core.unlearning import CureConfig, unlearn

# CASIA-WebFace by the profile `paper`: InsightFace's cleaned pack less outsiders and held-out
# fifth; 100 people forgotten of 10,572, each with as many images as the average.
TRAINED, FORGOTTEN, PEOPLE = 380_000, 3_700, 10_372
TEACHER_EPOCHS, EPOCHS, BATCH = 24, 10, 256
# Of an H200, as NVIDIA states them: dense bfloat16, and float32 outside tensor cores. What share
# of it is reached is our assumption, to be replaced by a measurement.
PEAK, PEAK_FLOAT32, REACHED = 989e12, 67e12, 0.25
ITERATIONS = 25  # of K-means


def measured(
    samples: list[int], clusters: list[int], shares: list[float], images: int, device: str
) -> pd.DataFrame:
    """One row a measurement: what, N, K, the share forgotten, seconds, and those over the work."""
    encoder = build("small").to(device)
    rows: list[dict[str, object]] = []
    pictures = _images(max(min(samples), images))
    forget = partial(unlearn, encoder, objective="cure", progress=False)
    forget(pictures[:32], pictures[32:64], CureConfig(clusters=2, epochs=1))  # warm-up
    for n in samples:
        run = partial(embed, encoder, _Repeated(pictures, n), batch_size=256)
        rows.append({"what": "embedding", "N": n, "seconds": _seconds(run, device), "work": n})
    x = torch.randn(max(samples), 128, generator=torch.Generator().manual_seed(0)).to(device)
    for n, k in ((n, k) for n in samples for k in clusters if 2 * k <= n):
        spent = _seconds(partial(kmeans, x[:n], k, init=x[:k], max_iter=5, tol=0), device)
        rows.append({"what": "kmeans", "N": n, "K": k, "seconds": spent, "work": n * k})
    for share in shares:
        n = max(2, round(share * images))
        config = CureConfig(clusters=2, epochs=1, batch_size=(16, 16))
        sets = pictures[:n], pictures[n:images]
        spent = _seconds(partial(forget, *sets, config), device)
        work = math.ceil(n / 16) * 32 * 3 + 2 * images  # a step costs three forward passes
        row = {"what": "unlearning", "N": images, "share": share, "seconds": spent, "work": work}
        rows.append(row)
    table = pd.DataFrame(rows)
    return table.assign(microseconds_per_work=1e6 * table.seconds / table.work)


class _Repeated:
    """As many images as asked for, of those there are."""

    def __init__(self, images: np.ndarray, count: int) -> None:
        self.images, self.shape = images, (count, *images.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        return self.images[np.asarray(index) % len(self.images)]


def predicted(rate: float, dim: int = 512) -> pd.DataFrame:
    """Minutes of CASIA-WebFace on one GPU that trains `rate` images a second."""
    forward = 1 / (3 * rate)  # backward costs two forward passes
    embedding = 2 * forward  # in float32, of which GPUs make TF32: half as fast
    steps = EPOCHS * math.ceil(FORGOTTEN / BATCH)
    clustering = 2 * dim / (PEAK_FLOAT32 * REACHED)  # seconds a distance
    # "auto" tries a grid of ratio sqrt(2) up to half the images, then halves the gap at the best.
    grid = TRAINED / 2 / (1 - 0.5**0.5)
    closing = 2 * math.log2(0.4 * PEOPLE) * PEOPLE
    passes = ITERATIONS + 2 + math.log(PEOPLE)  # greedy k-means++ looks at 2 + ln K candidates
    seconds = {
        "teacher": TEACHER_EPOCHS * TRAINED * 3 * forward,
        "oracle": TEACHER_EPOCHS * (TRAINED - FORGOTTEN) * 3 * forward,
        "teacher's views of both sets": 2 * TRAINED * embedding,
        "K-means of the retain side, one K": TRAINED * PEOPLE * passes * clustering,
        "K-means, all others that auto tries": TRAINED * (grid + closing) * passes * clustering,
        "unlearning steps": steps * 2 * BATCH * 3 * forward,
        "embedding the forget set each epoch": EPOCHS * FORGOTTEN * embedding,
    }
    table = pd.DataFrame({"part": seconds.keys(), "minutes": np.array([*seconds.values()]) / 60})
    total = pd.DataFrame({"part": ["all of one seed"], "minutes": [table.minutes.sum()]})
    return pd.concat([table, total], ignore_index=True)


def forward_operations(encoder: str) -> float:
    """Floating-point operations of one image's forward pass, counted by torch."""
    network = build(encoder)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, 112, 112, dtype=torch.uint8))
    return counter.get_total_flops()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--samples", type=int, nargs="+", default=[1000, 3000, 10000])
    parser.add_argument("--clusters", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.001, 0.01, 0.05, 0.2])
    parser.add_argument("--images", type=int, default=1000, help="of the runs that unlearn")
    parser.add_argument("--full", action="store_true", help="N to 100,000, K to 10,000")
    parser.add_argument("--rate", type=float, help="images a second that the GPU trains")
    parser.add_argument("--out", type=Path, help="write the measurements here, as CSV")
    options = parser.parse_args(arguments)
    if options.full:
        options.samples = [1000, 3000, 10_000, 30_000, 100_000]
        options.clusters, options.images = [10, 100, 1000, 10_000], 20_000
    table = measured(
        options.samples, options.clusters, options.shares, options.images, options.device
    )
    print(table.to_string(index=False, float_format="{:.4g}".format), end="\n\n")
    if options.out is not None:
        table.to_csv(options.out, index=False)
    rate = options.rate
    if rate is None:
        operations = forward_operations("iresnet50")
        rate = PEAK * REACHED / operations / 3
        print(
            f"assumed: {REACHED:.0%} of {PEAK / 1e12:.0f} TFLOPS, at {operations / 1e9:.1f} GFLOP"
        )
    print(f"IResNet-50, {rate:,.0f} images a second trained:")
    print(predicted(rate).to_string(index=False, float_format="{:.2f}".format))
    return 0


if __name__ == "__main__":
    sys.exit(main())
