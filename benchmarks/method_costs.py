"""What each method of the comparison costs beside the oracle's training and a bare step.

    PYTHONPATH=. python benchmarks/method_costs.py [synthfaces] [--methods cure,scrub]

Every method runs in a process of its own, on one request (seed 0), at the length and with the
settings that the comparison reports; so do the oracle's training and a bare training epoch
(forward, least loss there is, backward, optimiser) of as many steps of the same size. Time is the
processor's, on one thread, so that other work disturbs it little; memory is the peak beyond what
the process held before. Writes figures/method_costs.csv. About ten minutes for SynthFaces.
"""

import argparse
import copy
import json
import math
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cure_core.config import CureConfig
from cure_core.encoders.embedding import take
from cure_core.training.arcface import train
from cure_study.data import manifests
from cure_study.evaluation.report import save_table
from cure_study.experiments.comparison.bench import Bench, bench, carry_out
from cure_study.experiments.comparison.plan import PLAN, Plan, read_plan
from cure_study.experiments.comparison.store import read_rows
from cure_study.experiments.comparison.tables import winners
from cure_study.runner.cli import ROOT

ORACLE, BARE = "oracle", "bare steps"
SEED = 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("dataset", nargs="?", default="synthfaces")
    parser.add_argument("--methods", type=lambda text: text.split(","))
    parser.add_argument("--one", help="measure this alone, here, and print it as JSON")
    parser.add_argument("--plan", type=Path, default=PLAN)
    parser.add_argument("--tables", type=Path, default=ROOT / "figures")
    asked = parser.parse_args(arguments)
    plan = read_plan(asked.plan)
    if asked.one:
        print(json.dumps(measured(plan, asked.dataset, asked.one, asked.tables)))
        return 0
    met(plan, asked.dataset)  # trains the teacher here, not where memory is measured
    rows = []
    run = [m for m in plan.methods_on(asked.dataset) if m in plan.methods]
    for name in [ORACLE, BARE, *(asked.methods or run)]:
        part = ["--one", name, "--plan", str(asked.plan), "--tables", str(asked.tables)]
        command = [sys.executable, __file__, asked.dataset, *part]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        rows.append({"dataset": asked.dataset, "method": name, **json.loads(done.stdout)})
        print(rows[-1], flush=True)
    save_table(ratios(pd.DataFrame(rows)), asked.tables / "method_costs.csv")
    return 0


def met(plan: Plan, dataset: str) -> Bench:
    """The request that everyone meets, its teacher trained or fetched."""
    arena = plan.data[dataset]
    faces = manifests.load(dataset, **arena.options)
    return bench(arena, faces, plan.requests[0], SEED, attacked=False)


def measured(plan: Plan, dataset: str, name: str, tables: Path) -> dict[str, float]:
    """Processor seconds and peak MB of one method, the oracle's training, or bare steps."""
    epochs = plan.data[dataset].epochs
    own = met(plan, dataset)
    own = replace(own, views=None)  # every method embeds the sets by the teacher itself
    if name == ORACLE:
        index = own.case.request.retain_index
        recipe = replace(own.case.setting.recipe, seed=SEED)

        def work() -> None:
            people = own.case.faces.identities[index]
            train(own.case.start, own.case.request.retain, people, recipe)
    elif name == BARE:

        def work() -> None:
            bare_steps(own, epochs)
    else:
        won = winners(read_rows(tables, "tuning"), plan).set_index(["dataset", "method"])
        settings = won.settings[dataset, name]

        def work() -> None:
            carry_out(own, plan, name, settings, {"epochs": epochs})

    before, began = _held(), time.process_time()
    work()
    seconds = time.process_time() - began
    return {"seconds": round(seconds, 2), "peak_mb": round(_peak() - before, 1)}


def bare_steps(own: Bench, epochs: int) -> None:
    """As many steps as an unlearning run takes, of the same images and the least loss there is."""
    config = CureConfig(epochs=epochs)
    student = copy.deepcopy(own.teacher).train()
    student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(student.parameters(), lr=config.learning_rate)
    forget, retain = own.case.request.forget, own.case.request.retain
    parts = (
        take(s, np.arange(n)) for s, n in zip((forget, retain), config.batch_size, strict=True)
    )
    images = torch.cat(list(parts))
    for _ in range(epochs * math.ceil(len(forget) / config.batch_size[0])):
        loss = student(images).square().sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()


def ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with time and memory as ratios to the oracle's and to the bare steps'."""
    known = rows.set_index("method")
    for name, yardstick in (("oracle", ORACLE), ("bare", BARE)):
        rows = rows.assign(
            **{
                f"time_to_{name}": (rows.seconds / known.seconds[yardstick]).round(3),
                f"memory_to_{name}": (rows.peak_mb / known.peak_mb[yardstick]).round(3),
            }
        )
    return rows


def _held() -> float:
    """MB that the process holds now; its peak is counted from here (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _peak() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


if __name__ == "__main__":
    sys.exit(main())
