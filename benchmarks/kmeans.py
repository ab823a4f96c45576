"""K-means at size: ours beside scikit-learn's and faiss's, from one start, in one process.

    PYTHONPATH=. python benchmarks/kmeans.py [--threads 2] [--rounds 3]
    PYTHONPATH=. python benchmarks/kmeans.py --full

The first clusters 100,000 x 512 with K = 1,000, every implementation in turn in every round, so
that whatever else the machine does slows all; about two minutes on two idle cores. It needs
scikit-learn, and faiss where it is installed (`pip install -e .[bench]`). With `--full` ours alone
takes CASIA-WebFace's size, 490,623 x 512 with K = 10,572, from random samples: on a CPU one
iteration is measured and 25 extrapolated from it (about three minutes); on a GPU all 25 are run,
without TF32 and with it.

The goals: no slower than scikit-learn, at most 1.5 times as slow as faiss, inertia equal to 1 %,
at most 1 GB beyond the data; on a GPU 25 iterations of the full size within 10 s.
"""

import argparse
import ctypes
import gc
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pandas as pd
import torch
from step_ratio import _machine as machine
from threadpoolctl import threadpool_limits
from torch import Tensor

from cure_core.clustering import kmeans

SIZE = (100_000, 512, 1_000)
FULL = (490_623, 512, 10_572)
ITERATIONS = 10
FULL_ITERATIONS = 25
PEOPLE_SPREAD = 0.7  # length of the noise around a person's unit direction

T = TypeVar("T")
# What a run returns: the inertia of its last assignment, and its updates of the centroids.
Run = Callable[[Tensor, Tensor, int], tuple[float, int]]


def embeddings(samples: int, dim: int, people: int, seed: int = 0) -> Tensor:
    """Unit vectors (N, D) around a random direction a person."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.nn.functional.normalize(torch.randn(people, dim, generator=generator))
    x = torch.randn(samples, dim, generator=generator).mul_(PEOPLE_SPREAD / dim**0.5)
    for rows in x.split(2**14):  # no second array of the full size
        rows += centres[torch.randint(people, (len(rows),), generator=generator)]
        rows /= torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return x


def ours(x: Tensor, start: Tensor, iterations: int) -> tuple[float, int]:
    found = kmeans(x, len(start), init=start, max_iter=iterations, tol=0)
    return found.inertia, found.n_iter


def scikit_learn(x: Tensor, start: Tensor, iterations: int) -> tuple[float, int]:
    from sklearn.cluster import KMeans

    found = KMeans(
        len(start), init=start.numpy(), n_init=1, max_iter=iterations, tol=0, algorithm="lloyd"
    ).fit(x.numpy())
    return float(found.inertia_), int(found.n_iter_)


def faiss(x: Tensor, start: Tensor, iterations: int) -> tuple[float, int]:
    """With the assignment to the last centroids, which the others do too and it leaves out."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    found = faiss.Kmeans(
        x.shape[1],
        len(start),
        niter=iterations,
        max_points_per_centroid=len(x),  # its default, 256, silently takes a subsample
        min_points_per_centroid=1,
    )
    found.train(x.numpy(), init_centroids=start.numpy())
    distances, _ = found.assign(x.numpy())
    return float(distances.sum(dtype="float64")), len(found.iteration_stats or ())


RUNS: dict[str, Run] = {"ours": ours, "scikit-learn": scikit_learn, "faiss": faiss}


def compare(
    samples: int, dim: int, clusters: int, threads: int, rounds: int = 3, iterations: int = 10
) -> pd.DataFrame:
    """A row an implementation: seconds (median), ratio of ours to it, what it did, peak MB.

    The ratio is the median over the rounds; one that is not installed has no row.
    """
    x = embeddings(samples, dim, 3 * clusters)  # no clustering is done before the iterations are
    start = x[torch.randperm(samples, generator=torch.Generator().manual_seed(1))[:clusters]]
    seconds: dict[str, list[float]] = {}
    peaks: dict[str, float] = {}
    done: dict[str, tuple[float, int]] = {}
    with threadpool_limits(threads):
        torch.set_num_threads(threads)
        for _ in range(rounds):
            for name, run in RUNS.items():
                try:
                    value, took, peak = measured(partial(run, x, start, iterations))
                except ImportError:
                    continue
                seconds.setdefault(name, []).append(took)
                peaks[name] = max(peak, peaks.get(name, 0))
                done[name] = value
    rows = {
        name: {
            "seconds": statistics.median(own),
            "ours / it": statistics.median(
                a / b for a, b in zip(seconds["ours"], own, strict=True)
            ),
            "inertia": done[name][0],
            "iterations": done[name][1],
            "peak MB": peaks[name] / 1e6,
        }
        for name, own in seconds.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def full_on_cpu(samples: int, dim: int, clusters: int, threads: int) -> pd.Series:
    """One iteration of the full size: the seconds it adds to none; 25 extrapolated from it."""
    torch.set_num_threads(threads)
    x = embeddings(samples, dim, clusters)
    took, peaks = {}, []
    for iterations in (0, 1):
        run = partial(kmeans, x, clusters, init="random", max_iter=iterations, tol=0)
        _, took[iterations], peak = measured(run)
        peaks.append(peak)
    each = took[1] - took[0]
    return pd.Series(
        {
            "seconds an iteration": each,
            f"minutes of {FULL_ITERATIONS}": (took[0] + FULL_ITERATIONS * each) / 60,
            "peak MB beyond the data": max(peaks) / 1e6,
        }
    )


def full_on_gpu(samples: int, dim: int, clusters: int) -> pd.Series:
    """Seconds of 25 iterations of the full size on a GPU, without TF32 and with it."""
    x = embeddings(samples, dim, clusters).cuda()
    before = torch.backends.cuda.matmul.allow_tf32
    seconds, inertia = {}, {}
    try:
        for name, allowed in (("TF32 off", False), ("TF32 on", True)):
            torch.backends.cuda.matmul.allow_tf32 = allowed
            kmeans(x, clusters, init="random", max_iter=1, tol=0)  # warm
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
            began = time.perf_counter()
            found = kmeans(x, clusters, init="random", max_iter=FULL_ITERATIONS, tol=0)
            torch.cuda.synchronize()
            seconds[f"seconds, {name}"] = time.perf_counter() - began
            inertia[f"inertia, {name}"] = found.inertia
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    beyond = torch.cuda.max_memory_allocated() - x.numel() * x.element_size()
    return pd.Series(seconds | inertia | {"peak MB beyond the data": beyond / 1e6})


def measured(run: Callable[[], T]) -> tuple[T, float, float]:
    """What a run returns, its seconds, and the bytes that its peak lies above what was there.

    The peak is the process's own, which Linux alone lets one reset; NaN elsewhere.
    """
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    before = _memory("VmRSS")
    began = time.perf_counter()
    value = run()
    seconds = time.perf_counter() - began
    return value, seconds, _memory("VmHWM") - before


def _memory(field: str) -> float:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith(f"{field}:")]
    return kilobytes[0] * 1024.0 if kilobytes else float("nan")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--full", action="store_true", help="490,623 x 512, K = 10,572, ours alone")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    on_gpu = torch.device(options.device).type == "cuda"
    torch.set_num_threads(options.threads)
    print(machine(options.device), f"{_total_memory() / 2**30:.0f} GiB", sep=", ")
    if not options.full:
        print(compare(*SIZE, options.threads, options.rounds).round(3).to_string())
    else:
        table = full_on_gpu(*FULL) if on_gpu else full_on_cpu(*FULL, options.threads)
        print(table.round(1).to_string())
    return 0


def _total_memory() -> float:
    meminfo = Path("/proc/meminfo")
    return int(meminfo.read_text().split()[1]) * 1024.0 if meminfo.is_file() else float("nan")


if __name__ == "__main__":
    sys.exit(main())
