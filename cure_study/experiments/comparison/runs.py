"""Running the comparison: a row for every finished trial and run.

A row is written at once, and what has its row is not run again: the work can stop anywhere and go
on. Several processes with the same tables share the work, each row is made by one of them.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from filelock import Timeout
from torch import nn

from cure_core.files import digest
from cure_core.runtime.progress import bar
from cure_study.data import manifests
from cure_study.data.faceset import FaceSet
from cure_study.evaluation.space import Space
from cure_study.experiments import study
from cure_study.experiments.attempts import divergence
from cure_study.experiments.comparison.bench import (
    Bench,
    arena_setting,
    attacked,
    bench,
    carry_out,
    judged,
    taken,
    verified,
)
from cure_study.experiments.comparison.plan import DatasetPlan, Plan, Settings
from cure_study.experiments.comparison.store import (
    AGAIN,
    KEYS,
    REFERENCES,
    SCHEMAS,
    UNTUNED,
    Row,
    rounded,
    table,
)
from cure_study.experiments.comparison.tuning import (
    EXPLORED,
    Trial,
    finalists,
    propose,
    trials_on,
    winner,
)
from cure_study.experiments.results_store import run_jobs, to_frame

ANOTHER = 1000  # on a seed: the second oracle's
POINT = ("ues", "forgetting", "stability", "seconds")  # of a point of a curve


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
    """Run what the tables in `folder` lack of the plan on a data set or repeat; a row as it comes.

    `methods`, `requests`, `seeds` and `stages` select a part of it; what a run needs of an earlier
    stage, the tuned settings, is run first. Ablations, references, curves and attacks have the
    plan's first request and its `few_seeds` alone. `fast` compiles the encoders, which needs a C++
    compiler and changes figures within rounding. A run that diverges is a row that says so.
    Raises ValueError for a name the plan lacks, and for a table that is not one; MemoryError, at
    the end, where runs did not fit: these have no row, and the same call tries them again.
    """
    _require([dataset], plan.datasets, "data set")
    arena = plan.dataset_plan(dataset)
    _require(methods, plan.methods_on(dataset), "method")
    _require(requests, plan.requests, "request")
    _require(stages, list(KEYS), "stage")
    _require(seeds, arena.seeds, "reported seed")
    work = Work(plan, dataset, Path(folder), fast)
    chosen = list(methods or plan.methods_on(dataset))
    failed: list[str] = []

    def run(jobs: Sequence[tuple[Any, ...]], do: Callable[..., bool], what: str, unit: str) -> None:
        def attempted(job: tuple[Any, ...], wait: bool) -> bool:
            try:
                return do(*job, wait=wait)
            except (MemoryError, torch.OutOfMemoryError) as error:
                failed.append(f"{what} {' '.join(map(str, job))}: {error}")
                return True

        run_jobs(bar(jobs, f"{dataset}, {what}", progress, unit=unit), attempted)

    if "tuning" in stages:
        names = dict.fromkeys(plan.objective(name) for name in chosen if name != AGAIN)
        run([(name,) for name in names], work.search, "tuning", "method")
    if "comparison" in stages:
        jobs = []
        for request in requests or plan.requests:
            for seed in seeds or arena.seeds:
                few = request == plan.requests[0] and seed in arena.few_seeds
                own = [m for m in chosen if m in (*plan.methods, AGAIN) or few]
                jobs += [(request, seed, method) for method in own]
        # The main table before its ablations.
        jobs.sort(key=lambda job: job[2] not in plan.methods)
        run(jobs, work.run, "comparison", "run")
    few_seeds = [seed for seed in seeds or arena.seeds if seed in arena.few_seeds]
    if "frontier" in stages:
        curves = [(seed, m) for seed in few_seeds for m in chosen if m in plan.methods]
        points = [(*curve, factor) for curve in curves for factor in work.factors(curve[1])]
        run(points, work.point, "frontier", "point")
    if "attacks" in stages:
        victims = [(seed, m) for seed in few_seeds for m in chosen if m in plan.attacked]
        run(victims, work.attack, "attacks", "student")
    if failed:
        raise MemoryError(
            f"{len(failed)} runs did not fit into memory and have no row; free some and run the "
            "same command again: " + "; ".join(failed)
        )


def _require(given: Sequence[Any] | None, known: Sequence[Any], what: str) -> None:
    """Raise ValueError naming what is given and not planned."""
    if unknown := [str(name) for name in given or () if name not in known]:
        raise ValueError(
            f"no {what} {', '.join(unknown)} is planned; there are {', '.join(map(str, known))}"
        )


class Work:
    """The tables in a folder, and what it takes to add to them."""

    def __init__(self, plan: Plan, dataset: str, folder: Path, fast: bool) -> None:
        self.plan, self.dataset, self.folder, self.fast = plan, dataset, folder, fast
        self.arena: DatasetPlan = plan.dataset_plan(dataset)
        self.source = plan.tuned_on(dataset)
        self.tables = {name: table(folder, name) for name in KEYS}
        self.bench = lru_cache(maxsize=4)(self._bench)  # a trial and its finals

    def tune(self, method: str) -> Settings:
        """The chosen settings of a method, after the trials and finals that are still missing."""
        self.search(method)
        chosen = (self._origin or self).tuned(method)
        assert chosen is not None
        return chosen

    def search(self, method: str, wait: bool = True) -> bool:
        """Run the trials and finals of a method that are missing, which one process does.

        False where another is at it and this one does not `wait`, as in every method here.
        """
        if self._origin is not None:
            return self._origin.search(method, wait)
        if self.tuned(method) is not None:
            return True
        v = self.arena.validation
        try:
            with self.tables["tuning"].claim(self.dataset, method, wait=wait):
                for trial in range(self.arena.trials):
                    done = trials_on(self._tuning(method), v.seeds)
                    if trial not in done:
                        before = [done[earlier] for earlier in range(trial)]
                        self._try(method, trial, self._next(method, before), v.seeds)
                for trial, (settings, _) in finalists(self._tuning(method), self.arena).items():
                    self._try(method, trial, settings, v.finals)
        except Timeout:
            return False
        return True

    def tuned(self, method: str) -> Settings | None:
        """The settings that won; None while a trial or a final is missing."""
        won = winner(self._tuning(method), self.arena)
        return None if won is None else won[1]

    def _next(self, method: str, before: Sequence[Trial]) -> Settings:
        """The settings of the next trial. Raises ValueError where `after` has not been tuned."""
        given = self._given(method)
        if given is None:
            raise ValueError(
                f"{method} starts on {self.dataset} from its best on {self.arena.after}, where it "
                f"is not tuned; do `cure compare {self.arena.after} --stages tuning` first"
            )
        if 0 < len(before) <= len(given):
            return given[len(before) - 1]
        # What was good elsewhere has looked around already.
        explored = len(given) + 1 if given else EXPLORED
        return propose(self.plan.tuned[method], before, explored=explored)

    def _given(self, method: str) -> list[Settings] | None:
        """The finalists of the data set before, best first; None where that is not tuned."""
        if self._before is None:
            return []
        if self._before.tuned(method) is None:
            return None
        found = finalists(self._before._tuning(method), self._before.arena)
        return [settings for settings, _ in found.values()]

    @cached_property
    def _origin(self) -> "Work | None":
        """The data set whose winners meet in this repeat of it."""
        if self.source == self.dataset:
            return None
        return Work(self.plan, self.source, self.folder, self.fast)

    @cached_property
    def _before(self) -> "Work | None":
        """The data set after which this one is tuned."""
        after = self.arena.after
        return None if after is None else Work(self.plan, after, self.folder, self.fast)

    def _tuning(self, method: str) -> pd.DataFrame:
        """The rows of a method's trials that still hold."""
        key = {"dataset": self.dataset, "method": method, "setting": self._tried(method)}
        return to_frame(self.tables["tuning"].find(key), SCHEMAS["tuning"])

    def _row(self, name: str, wanted: Row, make: Callable[[], Row], wait: bool = True) -> bool:
        """Make sure that a table has a row of the values `wanted`; `make` returns the others."""
        return self.tables[name].once(rounded(wanted), lambda: rounded(make()), wait)

    def _try(self, method: str, trial: int, settings: Settings, seeds: Sequence[int]) -> None:
        """The rows of a trial on some seeds, where they are missing."""
        made = {"settings": json.dumps(settings), "setting": self._tried(method)}
        for seed in seeds:

            def tried(seed: int = seed) -> Row:
                few = self.arena.validation.n_pairs
                own = self.bench(self.plan.requests[0], seed, few, attacked=False)
                return self._verified(own, method, settings)

            key = {"dataset": self.dataset, "method": method, "trial": trial, "seed": seed}
            self._row("tuning", {**key, **made}, tried)

    def run(self, request: str, seed: int, method: str, wait: bool = True) -> bool:
        """One row of the comparison, and those of the teacher and the oracle where missing."""
        if method == AGAIN:
            for reference in UNTUNED:
                self._refer(request, seed, reference)
            return True
        if not self.search(self.plan.objective(method), wait):
            return False
        settings = self.tune(self.plan.objective(method))

        def ran() -> Row:
            own = self.bench(request, seed)
            for reference in REFERENCES:
                self._refer(request, seed, reference)
            student, facts = self._student(own, method, settings)
            return {**taken(judged, own, student), **facts}

        key = {"dataset": self.dataset, "request": request, "seed": seed, "method": method}
        return self._row("comparison", {**key, **self._of(request, method, settings)}, ran, wait)

    def _refer(self, request: str, seed: int, reference: str) -> None:
        """The row of an oracle or the teacher on a request, where it is missing."""

        def ran() -> Row:
            own = self.bench(request, seed)
            space, seconds = self._reference(own, reference)
            return {**judged(own, space), "seconds": seconds}

        key = {"dataset": self.dataset, "request": request, "seed": seed, "method": reference}
        self._row("comparison", {**key, "setting": digest(*self._shared, request)}, ran)

    def factors(self, method: str) -> list[float]:
        """What the strength of a method is multiplied by, one point of its curve each."""
        if self.plan.methods[method].strength is None:
            return []
        return sorted({1.0, *self.plan.factors})

    def point(self, seed: int, method: str, factor: float, wait: bool = True) -> bool:
        """The row of one method at one strength; factor 1 is the tuned one."""
        if not self.search(method, wait):
            return False
        strength, tuned = self.plan.methods[method].strength, self.tune(method)
        assert strength is not None
        settings = {**tuned, strength: tuned[strength] * factor}
        setting = self._made(self.plan.requests[0], method, settings)
        key = {"dataset": self.dataset, "method": method, "factor": factor, "seed": seed}
        known = {"setting": setting, "strength": strength, "value": settings[strength]}
        return self._row(
            "frontier", {**key, **known}, lambda: self._point(seed, method, settings, setting), wait
        )

    def attack(self, seed: int, method: str, wait: bool = True) -> bool:
        """What an attacker finds of a method's student, and of teacher and oracle where missing."""
        request = self.plan.requests[0]
        if not self.search(method, wait):
            return False
        settings = self.tune(method)
        of = {name: {"setting": digest(*self._shared, request)} for name in REFERENCES}
        of[method] = self._of(request, method, settings)

        def found(name: str) -> Row:
            own = self.bench(request, seed)
            if name != method:
                return attacked(own, self._reference(own, name)[0])
            student, facts = self._student(own, method, settings)
            row = taken(attacked, own, student)
            row = divergence(row) or row  # the table of attacks holds nothing else of it
            return {**row, **divergence(facts)}

        key = {"dataset": self.dataset, "seed": seed}
        return all(
            [
                self._row("attacks", {**key, "method": name, **made}, partial(found, name), wait)
                for name, made in of.items()
            ]
        )

    def _of(self, request: str, method: str, settings: Settings) -> Row:
        """What a row of a tuned method holds of how it was made."""
        setting = self._made(request, method, settings)
        return {"setting": setting, "settings": self.plan.written(method, settings)}

    def _point(self, seed: int, method: str, settings: Settings, setting: str) -> Row:
        """A point of a curve: of the run that the comparison has, where it is the same."""
        request = self.plan.requests[0]
        key = {"dataset": self.dataset, "request": request, "seed": seed, "method": method}
        if ran := self.tables["comparison"].find({**key, "setting": setting}):
            return {**{name: ran[0][name] for name in POINT}, **divergence(ran[0])}
        return self._verified(self.bench(request, seed, attacked=False), method, settings)

    def _verified(self, own: Bench, method: str, settings: Settings) -> Row:
        student, facts = self._student(own, method, settings)
        row = taken(verified, own, student)
        row = {name: row[name] for name in (*POINT, "diverged") if name in row}
        return {**row, "seconds": facts["seconds"], **divergence(facts)}

    def _student(self, own: Bench, method: str, settings: Settings) -> tuple[nn.Module, Row]:
        known = {"epochs": self.arena.epochs, "compile": self.fast}
        config = {**self.arena.unlearning, **known}
        student, facts = carry_out(own, self.plan, method, settings, config)
        if self.fast:
            student.compile()
        return student, facts

    def _reference(self, own: Bench, name: str) -> tuple[Space, float]:
        """The teacher or an oracle of a request, and the seconds of its training."""
        if name == "teacher":
            return own.space, study.train_teacher(own.case).seconds
        seed = own.case.seed + ANOTHER if name == AGAIN else own.case.seed
        trained = study.train_oracle(replace(own.case, seed=seed))
        if self.fast:
            trained.encoder.compile()
        return Space(own.protocol, trained.encoder), trained.seconds

    @cached_property
    def faces(self) -> FaceSet:
        return manifests.load(self.source, **self.arena.options)

    def _bench(
        self, request: str, seed: int, n_pairs: int | None = None, attacked: bool = True
    ) -> Bench:
        return bench(self.arena, self.faces, request, seed, n_pairs, attacked, self.fast)

    def _made(self, request: str, method: str, settings: Settings) -> str:
        """A digest of all that a row depends on, but for the code and a weight file's content."""
        changed = self.plan.changed(method, settings)
        return digest(*self._shared, request, self.arena.unlearning, self.arena.epochs, changed)

    def _tried(self, method: str) -> str:
        """A digest of all that the trials of a method depend on, as `_made`."""
        v, search = self.arena.validation, self.plan.tuned[method].search
        length = (self.plan.requests[0], self.arena.unlearning, self.arena.epochs)
        begun = self._given(method) or None
        return digest(*self._shared, *length, v.seeds, v.n_pairs, search, begun)

    @cached_property
    def _shared(self) -> tuple[object, ...]:
        """What every row of the data set depends on."""
        setting = arena_setting(self.arena, self.source, self.plan.requests[0], self.fast).asked()
        rest = ("request", "method", "config")  # of the row itself
        return self.faces.fingerprint, {k: v for k, v in setting.items() if k not in rest}
