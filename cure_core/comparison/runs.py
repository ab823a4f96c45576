"""Carrying the comparison out: a row for every finished trial and run.

A row is written at once, and what has its row is not done again: the work can stop anywhere and
go on, and several processes can share it.
"""

import json
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock
from torch import nn

from cure_core import manifests, rows, study
from cure_core.comparison.bench import (
    Bench,
    Row,
    arena_setting,
    bench,
    carry_out,
    judged,
    verified,
)
from cure_core.comparison.plan import Arena, Plan, Settings
from cure_core.comparison.tuning import best, propose
from cure_core.faces.faceset import FaceSet
from cure_core.files import digest
from cure_core.progress import bar
from cure_core.report import save_table
from cure_core.space import Space

KEYS = {
    "tuning": ["dataset", "method", "trial"],
    "comparison": ["dataset", "request", "seed", "method"],
    "frontier": ["dataset", "method", "factor", "seed"],
}  # the tables, one a stage
MEASURES = (
    *("ues", "forgetting", "stability", "accuracy_forget", "accuracy_retain", "accuracy_test"),
    *("tar_forget", "membership_recall", "membership_recall_oracle", "seconds", "seconds_oracle"),
)  # of the comparison, in this order; what else is known comes after
POINT = ("ues", "forgetting", "stability", "seconds")  # of a point of a curve
OF_ORACLE = ["membership_recall", "seconds"]
REFERENCES = ("oracle", "teacher")


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
    """Do what the tables in `folder` lack of the plan on one data set; each row as it comes.

    `methods`, `requests`, `seeds` and `stages` do a part of it; what a run needs of an earlier
    stage, the tuned settings, is done first. `fast` compiles the encoders, which needs a C++
    compiler and changes figures within rounding. Raises ValueError for a name the plan lacks.
    """
    for given, known, what in (
        ([dataset], list(plan.data), "data set"),
        (methods, plan.entrants(dataset), "method"),
        (requests, plan.requests, "request"),
        (stages, list(KEYS), "stage"),
        (seeds, plan.data[dataset].seeds if dataset in plan.data else [], "reported seed"),
    ):
        if unknown := [str(name) for name in given or () if name not in known]:
            raise ValueError(
                f"no {what} {', '.join(unknown)} is planned; there are {', '.join(map(str, known))}"
            )
    work = Work(plan, dataset, Path(folder), fast)
    arena = plan.data[dataset]
    chosen = list(methods or plan.entrants(dataset))
    if "tuning" in stages:
        names = dict.fromkeys(plan.objective(name) for name in chosen)
        for name in bar(names, f"{dataset}, tuning", progress, unit="method"):
            work.tune(name)
    if "comparison" in stages:
        jobs = []
        for request in requests or plan.requests:
            for seed in seeds or arena.seeds:
                few = request == plan.requests[0] and seed in arena.few_seeds
                own = [m for m in chosen if m in plan.methods or few]
                jobs += [(request, seed, method) for method in own]
        # The main table before its ablations.
        jobs.sort(key=lambda job: job[2] not in plan.methods)
        for job in bar(jobs, f"{dataset}, comparison", progress, unit="run"):
            work.run(*job)
    if "frontier" in stages:
        few_seeds = [seed for seed in seeds or arena.seeds if seed in arena.few_seeds]
        curves = [(seed, m) for seed in few_seeds for m in chosen if m in plan.methods]
        for seed, name in bar(curves, f"{dataset}, frontier", progress, unit="curve"):
            work.curve(seed, name)


class Work:
    """The tables in a folder, and what it takes to add to them."""

    def __init__(self, plan: Plan, dataset: str, folder: Path, fast: bool) -> None:
        self.plan, self.dataset, self.folder, self.fast = plan, dataset, folder, fast
        self.arena: Arena = plan.data[dataset]
        self.bench = lru_cache(maxsize=1)(self._bench)

    def tune(self, method: str) -> Settings:
        """The chosen settings of a method, after the trials that are still missing."""
        while len(done := self.trials(method)) < self.arena.trials:
            settings = self._next(method, done)
            found = [self._trial(method, settings, s) for s in self.arena.validation.seeds]
            means = {name: float(np.mean([row[name] for row in found])) for name in found[0]}
            key = {"dataset": self.dataset, "method": method, "trial": len(done)}
            made = {"setting": self._tried(method)}
            self.add("tuning", key, {**means, "settings": json.dumps(settings), **made})
        return best(done)

    def _next(self, method: str, done: list[tuple[Settings, float]]) -> Settings:
        """The settings of the next trial. Raises ValueError where `after` has not been tuned."""
        after = self.arena.after
        if len(done) != 1 or after is None:
            return propose(self.plan.tuned[method], done)
        elsewhere = Work(self.plan, after, self.folder, self.fast).trials(method)
        if len(elsewhere) < self.plan.data[after].trials:
            raise ValueError(
                f"{method} starts on {self.dataset} from its best on {after}, where it has "
                f"{len(elsewhere)} trials of {self.plan.data[after].trials}; do "
                f"`cure compare {after} --stages tuning` first"
            )
        return best(elsewhere)

    def trials(self, method: str) -> list[tuple[Settings, float]]:
        """The trials of a method so far: settings and UES, in their order."""
        key = {"dataset": self.dataset, "method": method, "setting": self._tried(method)}
        own = rows.select(read_rows(self.folder, "tuning"), key)
        trials = own.to_dict("records")  # the table is in the order of the trials
        return [(json.loads(str(trial["settings"])), float(trial["ues"])) for trial in trials]

    def _trial(self, method: str, settings: Settings, seed: int) -> Row:
        few = self.arena.validation.n_pairs
        own = self.bench(self.plan.requests[0], seed, few, attacked=False)
        student, facts = self._student(own, method, settings)
        return {**verified(own, student), "seconds": facts["seconds"]}

    def run(self, request: str, seed: int, method: str) -> None:
        """One row of the comparison, and those of the teacher and the oracle where missing."""
        key = {"dataset": self.dataset, "request": request, "seed": seed, "method": method}
        settings = self.tune(self.plan.objective(method))
        made = {"setting": self._made(method, settings)}
        if self.has("comparison", {**key, **made}):
            return
        own = self.bench(request, seed)
        for reference in REFERENCES:
            self._refer(own, {**key, "method": reference})
        student, facts = self._student(own, method, settings)
        self.add("comparison", key, {**judged(own, student), **facts, **made})

    def _refer(self, own: Bench, key: Row) -> None:
        """The row of the oracle or the teacher on a request, where it is missing."""
        made = {"setting": digest(*self._shared)}
        if self.has("comparison", {**key, **made}):
            return
        if key["method"] == "teacher":
            space, seconds = own.space, study.train_teacher(own.case).seconds
        else:
            trained = study.train_oracle(own.case)
            if self.fast:
                trained.encoder.compile()
            space, seconds = Space(own.protocol, trained.encoder), trained.seconds
        self.add("comparison", key, {**judged(own, space), "seconds": seconds, **made})

    def curve(self, seed: int, method: str) -> None:
        """The rows of one method at every strength, its tuned one among them."""
        strength = self.plan.methods[method].strength
        if strength is None:
            return
        tuned = self.tune(method)
        for factor in sorted({1.0, *self.plan.factors}):
            settings = {**tuned, strength: tuned[strength] * factor}
            key = {"dataset": self.dataset, "method": method, "factor": factor, "seed": seed}
            made = {"setting": self._made(method, settings)}
            if self.has("frontier", {**key, **made}):
                continue
            known = {**made, "strength": strength, "value": settings[strength]}
            self.add("frontier", key, {**self._point(seed, method, settings, made), **known})

    def _point(self, seed: int, method: str, settings: Settings, made: Row) -> Row:
        """A point of a curve: of the run that the comparison has, where it is the same."""
        request = self.plan.requests[0]
        same = {"dataset": self.dataset, "request": request, "seed": seed, "method": method, **made}
        ran = rows.select(read_rows(self.folder, "comparison"), same).to_dict("records")
        if ran:
            return {str(name): ran[0][name] for name in POINT}
        own = self.bench(request, seed, attacked=False)
        student, facts = self._student(own, method, settings)
        return {**verified(own, student), "seconds": facts["seconds"]}

    def _student(self, own: Bench, method: str, settings: Settings) -> tuple[nn.Module, Row]:
        known = {"epochs": self.arena.epochs, "compile": self.fast}
        config = {**self.arena.unlearning, **known}
        student, facts = carry_out(own, self.plan, method, settings, config)
        if self.fast:
            student.compile()
        return student, facts

    @cached_property
    def faces(self) -> FaceSet:
        return manifests.load(self.dataset, **self.arena.options)

    def _bench(
        self, request: str, seed: int, n_pairs: int | None = None, attacked: bool = True
    ) -> Bench:
        return bench(self.arena, self.faces, request, seed, n_pairs, attacked, self.fast)

    def _made(self, method: str, settings: Settings) -> str:
        """A digest of all that a row depends on, but for the code and a weight file's content."""
        return digest(*self._shared, self.plan.changed(method, settings), self.arena.epochs)

    def _tried(self, method: str) -> str:
        """A digest of all that the trials of a method depend on, as `_made`."""
        validation, search = self.arena.validation.model_dump(), self.plan.tuned[method].search
        return digest(*self._shared, validation, search, self.arena.epochs)

    @cached_property
    def _shared(self) -> tuple[object, ...]:
        """What every row of the data set depends on."""
        setting = arena_setting(self.arena, self.dataset, self.plan.requests[0], self.fast).asked()
        rest = ("request", "method", "config")  # of the row itself
        shared = {name: value for name, value in setting.items() if name not in rest}
        return self.faces.fingerprint, shared, self.arena.unlearning

    def has(self, name: str, key: Row) -> bool:
        return rows.has_row(read_rows(self.folder, name), key)

    def add(self, name: str, key: Row, row: Row) -> None:
        """Write a row, in the place of an earlier one of the same key."""
        path = self.folder / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            table = read_rows(self.folder, name)
            table = table.drop(rows.select(table, key).index)
            table = pd.concat([table, pd.DataFrame([{**key, **_rounded(row)}])], ignore_index=True)
            table = table.sort_values(KEYS[name], kind="stable")
            save_table(_beside_oracle(table) if name == "comparison" else table, path)


def read_rows(folder: Path, name: str) -> pd.DataFrame:
    """The rows of a table so far; none where it is not begun."""
    table = rows.read_rows(folder / f"{name}.csv")
    return table if len(table) else pd.DataFrame(columns=KEYS[name])


def _beside_oracle(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the comparison with their oracle's recall and seconds, measures first."""
    request = KEYS["comparison"][:3]
    table = table.drop(columns=[f"{name}_oracle" for name in OF_ORACLE], errors="ignore")
    oracle = table[table.method == "oracle"][[*request, *OF_ORACLE]]
    whole = table.merge(oracle, on=request, how="left", suffixes=("", "_oracle"))
    first = [*KEYS["comparison"], *MEASURES]
    return whole[[*first, *(name for name in whole if name not in first)]]


def _rounded(row: Row) -> Row:
    return {k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}
