"""Carrying the comparison out: a row for every finished trial and run.

A row is written at once, and what has its row is not done again: the work can stop anywhere and
go on, and several processes, each given a part of its own, can share the tables.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from cure_core import manifests, rows, study
from cure_core.comparison.bench import (
    Bench,
    arena_setting,
    attacked,
    bench,
    carry_out,
    judged,
    verified,
)
from cure_core.comparison.plan import Arena, Plan, Settings
from cure_core.comparison.store import (
    AGAIN,
    KEYS,
    REFERENCES,
    UNTUNED,
    Row,
    has_row,
    read_rows,
    write_row,
)
from cure_core.comparison.tuning import (
    EXPLORED,
    Trial,
    finalists,
    propose,
    trials_on,
    winner,
)
from cure_core.faces.faceset import FaceSet
from cure_core.files import digest
from cure_core.progress import bar
from cure_core.space import Space

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
    """Do what the tables in `folder` lack of the plan on a data set or repeat; a row as it comes.

    `methods`, `requests`, `seeds` and `stages` do a part of it; what a run needs of an earlier
    stage, the tuned settings, is done first. Ablations, references, curves and attacks have the
    plan's first request and its `few_seeds` alone. `fast` compiles the encoders, which needs a C++
    compiler and changes figures within rounding. Raises ValueError for a name the plan lacks.
    """
    _require([dataset], plan.datasets, "data set")
    arena = plan.arena(dataset)
    _require(methods, plan.entrants(dataset), "method")
    _require(requests, plan.requests, "request")
    _require(stages, list(KEYS), "stage")
    _require(seeds, arena.seeds, "reported seed")
    work = Work(plan, dataset, Path(folder), fast)
    chosen = list(methods or plan.entrants(dataset))
    if "tuning" in stages:
        names = dict.fromkeys(plan.objective(name) for name in chosen if name != AGAIN)
        for name in bar(names, f"{dataset}, tuning", progress, unit="method"):
            work.tune(name)
    if "comparison" in stages:
        jobs = []
        for request in requests or plan.requests:
            for seed in seeds or arena.seeds:
                few = request == plan.requests[0] and seed in arena.few_seeds
                own = [m for m in chosen if m in (*plan.methods, AGAIN) or few]
                jobs += [(request, seed, method) for method in own]
        # The main table before its ablations.
        jobs.sort(key=lambda job: job[2] not in plan.methods)
        for job in bar(jobs, f"{dataset}, comparison", progress, unit="run"):
            work.run(*job)
    few_seeds = [seed for seed in seeds or arena.seeds if seed in arena.few_seeds]
    if "frontier" in stages:
        curves = [(seed, m) for seed in few_seeds for m in chosen if m in plan.methods]
        for seed, name in bar(curves, f"{dataset}, frontier", progress, unit="curve"):
            work.curve(seed, name)
    if "attacks" in stages:
        victims = [(seed, m) for seed in few_seeds for m in chosen if m in plan.attacked]
        for seed, name in bar(victims, f"{dataset}, attacks", progress, unit="student"):
            work.attack(seed, name)


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
        self.arena: Arena = plan.arena(dataset)
        self.source = plan.tuned_on(dataset)
        self.bench = lru_cache(maxsize=4)(self._bench)  # a trial and its finals

    def tune(self, method: str) -> Settings:
        """The chosen settings of a method, after the trials and finals that are still missing."""
        if self._origin is not None:
            return self._origin.tune(method)
        if (known := self.tuned(method)) is not None:  # asked before every run
            return known
        v = self.arena.validation
        for trial in range(self.arena.trials):
            done = trials_on(self._tuning(method), v.seeds)
            if trial not in done:
                settings = self._next(method, [done[before] for before in range(trial)])
                self._try(method, trial, settings, v.seeds)
        for trial, (settings, _) in finalists(self._tuning(method), self.arena).items():
            self._try(method, trial, settings, v.finals)
        chosen = self.tuned(method)
        assert chosen is not None
        return chosen

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
        return rows.select(read_rows(self.folder, "tuning"), key)

    def _try(self, method: str, trial: int, settings: Settings, seeds: Sequence[int]) -> None:
        """The rows of a trial on some seeds, where they are missing."""
        for seed in seeds:
            key = {"dataset": self.dataset, "method": method, "trial": trial, "seed": seed}
            made = {"settings": json.dumps(settings), "setting": self._tried(method)}
            if not has_row(self.folder, "tuning", {**key, **made}):
                few = self.arena.validation.n_pairs
                own = self.bench(self.plan.requests[0], seed, few, attacked=False)
                write_row(
                    self.folder, "tuning", key, {**self._verified(own, method, settings), **made}
                )

    def run(self, request: str, seed: int, method: str) -> None:
        """One row of the comparison, and those of the teacher and the oracle where missing."""
        key = {"dataset": self.dataset, "request": request, "seed": seed, "method": method}
        if method == AGAIN:
            for reference in UNTUNED:
                self._refer(request, seed, reference)
            return
        settings = self.tune(self.plan.objective(method))
        made = {"setting": self._made(request, method, settings)}
        if has_row(self.folder, "comparison", {**key, **made}):
            return
        own = self.bench(request, seed)
        for reference in REFERENCES:
            self._refer(request, seed, reference)
        student, facts = self._student(own, method, settings)
        made["settings"] = self.plan.written(method, settings)
        write_row(self.folder, "comparison", key, {**judged(own, student), **facts, **made})

    def _refer(self, request: str, seed: int, reference: str) -> None:
        """The row of an oracle or the teacher on a request, where it is missing."""
        key = {"dataset": self.dataset, "request": request, "seed": seed, "method": reference}
        made = {"setting": digest(*self._shared, request)}
        if has_row(self.folder, "comparison", {**key, **made}):
            return
        own = self.bench(request, seed)
        space, seconds = self._reference(own, reference)
        write_row(
            self.folder, "comparison", key, {**judged(own, space), "seconds": seconds, **made}
        )

    def curve(self, seed: int, method: str) -> None:
        """The rows of one method at every strength, its tuned one among them."""
        strength = self.plan.methods[method].strength
        if strength is None:
            return
        tuned = self.tune(method)
        for factor in sorted({1.0, *self.plan.factors}):
            settings = {**tuned, strength: tuned[strength] * factor}
            key = {"dataset": self.dataset, "method": method, "factor": factor, "seed": seed}
            made = {"setting": self._made(self.plan.requests[0], method, settings)}
            if has_row(self.folder, "frontier", {**key, **made}):
                continue
            known = {**made, "strength": strength, "value": settings[strength]}
            write_row(
                self.folder, "frontier", key, {**self._point(seed, method, settings, made), **known}
            )

    def attack(self, seed: int, method: str) -> None:
        """What a sceptic finds of a method's student, and of teacher and oracle where missing."""
        request = self.plan.requests[0]
        settings = self.tune(method)
        made = {
            **{name: digest(*self._shared, request) for name in REFERENCES},
            method: self._made(request, method, settings),
        }
        for name, setting in made.items():
            key = {"dataset": self.dataset, "seed": seed, "method": name}
            if has_row(self.folder, "attacks", {**key, "setting": setting}):
                continue
            own, row = self.bench(request, seed), {"setting": setting}
            model: nn.Module | Space
            if name == method:
                model, _ = self._student(own, method, settings)
                row["settings"] = self.plan.written(method, settings)
            else:
                model, _ = self._reference(own, name)
            write_row(self.folder, "attacks", key, {**attacked(own, model), **row})

    def _point(self, seed: int, method: str, settings: Settings, made: Row) -> Row:
        """A point of a curve: of the run that the comparison has, where it is the same."""
        request = self.plan.requests[0]
        same = {"dataset": self.dataset, "request": request, "seed": seed, "method": method, **made}
        ran = rows.select(read_rows(self.folder, "comparison"), same).to_dict("records")
        if ran:
            return {str(name): ran[0][name] for name in POINT}
        return self._verified(self.bench(request, seed, attacked=False), method, settings)

    def _verified(self, own: Bench, method: str, settings: Settings) -> Row:
        student, facts = self._student(own, method, settings)
        return {**verified(own, student), "seconds": facts["seconds"]}

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
