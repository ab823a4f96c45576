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
from cure_core.encoders.images import take
from cure_core.objectives.cure_plus import CurePlus
from cure_core.training.arcface import train
from cure_study.evaluation.report import save_table
from cure_study.experiments.comparison.plan import PLAN, Plan, read_plan
from cure_study.experiments.comparison.store import read_rows
from cure_study.experiments.comparison.task import Task, Trainer
from cure_study.experiments.comparison.tuning_tables import winners
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
    options = parser.parse_args(arguments)
    plan = read_plan(options.plan)
    if options.one:
        print(json.dumps(measured(plan, options.dataset, options.one, options.tables)))
        return 0
    # Train the teacher here, where memory is not measured.
    draw_task(Trainer(plan, options.dataset))
    rows = []
    run = [m for m in plan.methods_on(options.dataset) if m in plan.methods]
    for name in [ORACLE, BARE, *(options.methods or run)]:
        part = ["--one", name, "--plan", str(options.plan), "--tables", str(options.tables)]
        command = [sys.executable, __file__, options.dataset, *part]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        rows.append({"dataset": options.dataset, "method": name, **json.loads(done.stdout)})
        print(rows[-1], flush=True)
    save_table(ratios(pd.DataFrame(rows)), options.tables / "method_costs.csv")
    return 0


def draw_task(trainer: Trainer) -> Task:
    """The request on which every method runs; each embeds the sets by the teacher itself."""
    task = trainer.task(trainer.plan.requests[0], SEED, attacked=False)
    return replace(task, views=None)


def measured(plan: Plan, dataset: str, name: str, tables: Path) -> dict[str, float]:
    """Processor seconds and peak MB of one method, the oracle's training, or bare steps."""
    trainer = Trainer(plan, dataset)
    task = draw_task(trainer)
    if name == ORACLE:
        index = task.case.request.retain_index
        recipe = replace(task.case.setting.recipe, seed=SEED)

        def work() -> None:
            people = task.case.faces.identities[index]
            train(task.case.start, task.case.request.retain, people, recipe)
    elif name == BARE:

        def work() -> None:
            bare_steps(task, trainer.part.epochs)
    else:
        won = winners(read_rows(tables, "tuning"), plan).set_index(["dataset", "method"])
        settings = won.settings[dataset, name]

        def work() -> None:
            trainer.student(task, name, settings)

    before, began = _held(), time.process_time()
    work()
    seconds = time.process_time() - began
    return {"seconds": round(seconds, 2), "peak_mb": round(_peak() - before, 1)}


def bare_steps(task: Task, epochs: int) -> None:
    """As many steps as an unlearning run takes, of the same images and the least loss there is."""
    config = CureConfig(epochs=epochs)
    student = copy.deepcopy(task.teacher).train()
    student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(student.parameters(), lr=CurePlus.learning_rate)
    forget, retain = task.case.request.forget, task.case.request.retain
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
