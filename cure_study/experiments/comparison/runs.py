"""Running the comparison: one row for every finished run.

A row is written at once, and a run that has its row is not repeated: the work can be interrupted
and resumed anywhere. Several processes with the same tables divide the work between them.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cure_core.runtime.progress import bar
from cure_study.experiments.attempts import divergence
from cure_study.experiments.comparison.measures import (
    measure_all,
    measure_attacks,
    measure_or_collapse,
)
from cure_study.experiments.comparison.methods import BASELINES, SECOND_ORACLE, UNTUNED
from cure_study.experiments.comparison.plan import Plan, Settings
from cure_study.experiments.comparison.search import POINT, Search, ues_row
from cure_study.experiments.comparison.store import KEYS, open_table, rounded
from cure_study.experiments.comparison.task import Trainer
from cure_study.experiments.results_store import run_jobs
from cure_study.experiments.typed_csv import Row

Jobs = Sequence[tuple[Any, ...]]


def compare(
    plan: Plan,
    dataset: str,
    folder: str | Path,
    *,
    methods: Sequence[str] | None = None,
    requests: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    stages: Sequence[str] = tuple(KEYS),
    fast: bool = False,
    progress: bool | None = None,
) -> None:
    """Run what is missing in the tables in `folder` of the plan for a data set or repeat.

    `methods`, `requests`, `seeds` and `stages` select a part; if a run needs tuned settings, they
    are searched for first. Variants, references, curves and attacks run only on the plan's first
    request and its `few_seeds`. `fast` compiles the encoders, which needs a C++ compiler and
    changes results by rounding. A run that diverges has a row that says so.
    Raises ValueError for a name that is not in the plan and for a file that is not such a table.
    Raises MemoryError, at the end, if runs did not fit into memory: they have no row, and the same
    call tries them again.
    """
    _check_known([dataset], plan.datasets, "data set")
    part = plan.dataset_plan(dataset)
    _check_known(methods, plan.methods_on(dataset), "method")
    _check_known(requests, plan.requests, "request")
    _check_known(stages, list(KEYS), "stage")
    _check_known(seeds, part.seeds, "reported seed")
    runs = Runs(plan, dataset, Path(folder), fast)
    methods = methods or plan.methods_on(dataset)
    seeds = seeds or part.seeds
    few_seeds = [seed for seed in seeds if seed in part.few_seeds]
    curves = [(seed, m) for seed in few_seeds for m in methods if m in plan.methods]
    jobs: dict[str, tuple[Callable[..., bool], Jobs, str]] = {
        "tuning": (runs.tune, runs.searches(methods), "method"),
        "comparison": (runs.run, runs.main_table(methods, requests, seeds), "run"),
        "frontier": (runs.point, [(*c, f) for c in curves for f in runs.factors(c[1])], "point"),
        "attacks": (
            runs.attack,
            [(seed, m) for seed in few_seeds for m in methods if m in plan.attacked],
            "student",
        ),
    }
    failed = [
        failure
        for stage, (run, stage_jobs, unit) in jobs.items()
        if stage in stages
        for failure in _run_all(run, bar(stage_jobs, f"{dataset}, {stage}", progress, unit=unit))
    ]
    if failed:
        raise MemoryError(
            f"{len(failed)} runs did not fit into memory and have no row; free some and run the "
            "same command again: " + "; ".join(failed)
        )


def _run_all(run: Callable[..., bool], jobs: Iterable[tuple[Any, ...]]) -> list[str]:
    """Run all jobs; returns those that did not fit into memory, in words."""
    failed: list[str] = []

    def attempt(job: tuple[Any, ...], wait: bool) -> bool:
        try:
            return run(*job, wait=wait)
        except (MemoryError, torch.OutOfMemoryError) as error:
            failed.append(f"{run.__name__} {' '.join(map(str, job))}: {error}")
            return True

    run_jobs(jobs, attempt)
    return failed


def _check_known(given: Sequence[Any] | None, known: Sequence[Any], what: str) -> None:
    """Raise ValueError naming what is given and not planned."""
    if unknown := [str(name) for name in given or () if name not in known]:
        raise ValueError(
            f"no {what} {', '.join(unknown)} is planned; there are {', '.join(map(str, known))}"
        )


class Runs:
    """The runs of a data set of the plan, and the tables that they add to.

    `tune`, `run`, `point` and `attack` make sure that rows exist. They return False if another
    process is making one of them and `wait` is False.
    """

    def __init__(self, plan: Plan, dataset: str, folder: Path, fast: bool = False) -> None:
        self.plan, self.dataset = plan, dataset
        self.trainer = Trainer(plan, dataset, fast)
        repeated = self.trainer.source != dataset
        tuner = Trainer(plan, self.trainer.source, fast) if repeated else self.trainer
        self.search = Search(tuner, folder)
        self.tables = {name: open_table(folder, name) for name in KEYS}

    def searches(self, methods: Sequence[str]) -> Jobs:
        names = dict.fromkeys(self.plan.objective(m) for m in methods if m != SECOND_ORACLE)
        return [(name,) for name in names]

    def main_table(
        self, methods: Sequence[str], requests: Sequence[str] | None, seeds: Sequence[int]
    ) -> Jobs:
        """(request, seed, method): the main table first, then its variants and references."""
        everywhere = {*self.plan.methods, SECOND_ORACLE}
        jobs = [
            (request, seed, method)
            for request in requests or self.plan.requests
            for seed in seeds
            for method in methods
            if method in everywhere
            or (request == self.plan.requests[0] and seed in self.trainer.part.few_seeds)
        ]
        return sorted(jobs, key=lambda job: job[2] not in self.plan.methods)

    def factors(self, method: str) -> list[float]:
        """The multiples of a method's strength along its curve."""
        if self.plan.methods[method].strength is None:
            return []
        return sorted({1.0, *self.plan.factors})

    def tune(self, method: str, wait: bool = True) -> bool:
        return self.search.settings(method, wait) is not None

    def run(self, request: str, seed: int, method: str, wait: bool = True) -> bool:
        """One row of the comparison, and those of the teacher and the oracle if missing."""
        if method == SECOND_ORACLE:
            for name in UNTUNED:
                self._run_baseline(request, seed, name)
            return True
        settings = self.search.settings(self.plan.objective(method), wait)
        if settings is None:
            return False

        def measure() -> Row:
            task = self.trainer.task(request, seed)
            for name in BASELINES:
                self._run_baseline(request, seed, name)
            student, columns = self.trainer.student(task, method, settings)
            return {**measure_or_collapse(measure_all, task, student), **columns}

        key = {"request": request, "seed": seed, "method": method}
        inputs = self._inputs(request, method, settings)
        return self._once("comparison", {**key, **inputs}, measure, wait)

    def _run_baseline(self, request: str, seed: int, name: str) -> None:
        """The row of an oracle or the teacher on a request."""

        def measure() -> Row:
            task = self.trainer.task(request, seed)
            space, seconds = self.trainer.baseline(task, name)
            return {**measure_all(task, space), "seconds": seconds}

        key = {"request": request, "seed": seed, "method": name}
        inputs = {"setting": self.trainer.baseline_digest(request)}
        self._once("comparison", {**key, **inputs}, measure)

    def point(self, seed: int, method: str, factor: float, wait: bool = True) -> bool:
        """The row of a method at a multiple of its tuned strength."""
        request, strength = self.plan.requests[0], self.plan.methods[method].strength
        assert strength is not None  # `factors` gives no others
        tuned = self.search.settings(method, wait)
        if tuned is None:
            return False
        settings = {**tuned, strength: tuned[strength] * factor}
        setting = self.trainer.digest(request, method, settings)

        def measure() -> Row:
            run = {"dataset": self.dataset, "request": request, "seed": seed, "method": method}
            if known := self.tables["comparison"].find({**run, "setting": setting}):
                return {**{name: known[0][name] for name in POINT}, **divergence(known[0])}
            task = self.trainer.task(request, seed, attacked=False)
            return ues_row(self.trainer, task, method, settings)

        key = {"method": method, "factor": factor, "seed": seed}
        inputs = {"setting": setting, "strength": strength, "value": settings[strength]}
        return self._once("frontier", {**key, **inputs}, measure, wait)

    def attack(self, seed: int, method: str, wait: bool = True) -> bool:
        """The rows of the attacks on a method's student, the teacher and the oracle."""
        request = self.plan.requests[0]
        settings = self.search.settings(method, wait)
        if settings is None:
            return False

        def measure(name: str) -> Row:
            task = self.trainer.task(request, seed)
            if name != method:
                return measure_attacks(task, self.trainer.baseline(task, name)[0])
            student, columns = self.trainer.student(task, method, settings)
            row = measure_or_collapse(measure_attacks, task, student)
            row = divergence(row) or row  # this table has no other column for a collapsed student
            return {**row, **divergence(columns)}

        inputs = {name: {"setting": self.trainer.baseline_digest(request)} for name in BASELINES}
        inputs[method] = self._inputs(request, method, settings)
        done = [
            self._once(
                "attacks", {"seed": seed, "method": name, **of}, partial(measure, name), wait
            )
            for name, of in inputs.items()
        ]
        return all(done)

    def _inputs(self, request: str, method: str, settings: Settings) -> Row:
        """The columns that say how a tuned method was run."""
        setting = self.trainer.digest(request, method, settings)
        return {"setting": setting, "settings": self.plan.written(method, settings)}

    def _once(self, name: str, wanted: Row, measure: Callable[[], Row], wait: bool = True) -> bool:
        """Make sure that a table has a row with the values `wanted`."""
        wanted = rounded({"dataset": self.dataset, **wanted})
        return self.tables[name].once(wanted, lambda: rounded(measure()), wait)
