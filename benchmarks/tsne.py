"""t-SNE at size: the time of one joint map of 10,000 x 512, as notebook 04 makes it.

    PYTHONPATH=. python benchmarks/tsne.py

One thread, so that a seed gives the same map; about a minute. The goal is under 60 s.
"""

import sys
import time

from kmeans import embeddings
from step_ratio import _machine as machine

from cure_study.experiments.maps.projections import joint_tsne


def main(samples: int = 10_000, dim: int = 512) -> int:
    x = embeddings(samples, dim, people=samples // 20).numpy()
    print(machine("cpu"))
    began, busy = time.perf_counter(), time.process_time()
    table = joint_tsne({"teacher": x})
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    print(f"{len(table):,} x {dim}: {seconds:.1f} s, {busy:.1f} s of a processor")
    return 0


if __name__ == "__main__":
    sys.exit(main())
