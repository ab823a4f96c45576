"""Tuning on one data set: the trials and finals of each method, one row per run."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from filelock import Timeout

from cure_core.files import digest
from cure_study.experiments.attempts import divergence
from cure_study.experiments.comparison.measures import measure_or_collapse, measure_ues
from cure_study.experiments.comparison.plan import Settings
from cure_study.experiments.comparison.store import SCHEMAS, open_table, rounded
from cure_study.experiments.comparison.task import Task, Trainer
from cure_study.experiments.comparison.tuning import (
    EXPLORED,
    Trial,
    complete_trials,
    finalists,
    propose,
    winner,
)
from cure_study.experiments.typed_csv import Row, to_frame

POINT = ("ues", "forgetting", "stability", "seconds")


class Search:
    """The search for the settings of each method on a data set."""

    def __init__(self, trainer: Trainer, folder: Path) -> None:
        self.trainer, self.plan, self.part = trainer, trainer.plan, trainer.part
        self.table = open_table(folder, "tuning")
        after = self.part.after
        self.earlier = after and Search(Trainer(self.plan, after, trainer.fast), folder)

    def settings(self, method: str, wait: bool = True) -> Settings | None:
        """The settings that won, after running the trials and finals that are missing.

        None if another process is running them and `wait` is False.
        """
        if self.winner(method) is None:
            try:
                with self.table.claim(self.trainer.dataset, method, wait=wait):
                    self._run(method)
            except Timeout:
                return None
        return self.winner(method)

    def winner(self, method: str) -> Settings | None:
        """The settings that won; None while a trial or a final is missing.

        Empty for a method with nothing to search, which is not tuned.
        """
        if not self.plan.tuned[method].search:
            return {}
        won = winner(self._rows(method), self.part)
        return None if won is None else won[1]

    def _run(self, method: str) -> None:
        validation = self.part.validation
        for trial in range(self.part.trials):
            done = complete_trials(self._rows(method), validation.seeds)
            if trial not in done:
                settings = self._next(method, [done[earlier] for earlier in range(trial)])
                self._run_trial(method, trial, settings, validation.seeds)
        for trial, (settings, _) in finalists(self._rows(method), self.part).items():
            self._run_trial(method, trial, settings, validation.finals)

    def _next(self, method: str, trials: Sequence[Trial]) -> Settings:
        """The settings of the next trial. Raises ValueError if `after` has not been tuned."""
        start = self._starting_points(method)
        if start is None:
            raise ValueError(
                f"{method} starts on {self.trainer.dataset} from its best on {self.part.after}, "
                f"where it is not tuned; do `cure compare {self.part.after} --stages tuning` first"
            )
        if 0 < len(trials) <= len(start):
            return start[len(trials) - 1]
        # The search on the earlier data set has explored already.
        explored = len(start) + 1 if start else EXPLORED
        return propose(self.plan.tuned[method], trials, explored=explored)

    def _starting_points(self, method: str) -> list[Settings] | None:
        """The finalists of the earlier data set, best first; None if it has not been tuned."""
        if not self.earlier:
            return []
        if self.earlier.winner(method) is None:
            return None
        best = finalists(self.earlier._rows(method), self.earlier.part)
        return [settings for settings, _ in best.values()]

    def _rows(self, method: str) -> pd.DataFrame:
        """The rows of a method's trials that are still valid."""
        key = {"dataset": self.trainer.dataset, "method": method, "setting": self._digest(method)}
        return to_frame(self.table.find(key), SCHEMAS["tuning"])

    def _run_trial(self, method: str, trial: int, settings: Settings, seeds: Sequence[int]) -> None:
        """The rows of a trial that are missing on some seeds."""
        for seed in seeds:

            def run(seed: int = seed) -> Row:
                request, n_pairs = self.plan.requests[0], self.part.validation.n_pairs
                task = self.trainer.task(request, seed, n_pairs, attacked=False)
                return rounded(ues_row(self.trainer, task, method, settings))

            key = {"dataset": self.trainer.dataset, "method": method, "trial": trial, "seed": seed}
            inputs = {"settings": json.dumps(settings), "setting": self._digest(method)}
            self.table.once({**key, **inputs}, run)

    def _digest(self, method: str) -> str:
        """A digest of all that the trials of a method depend on, as `Trainer.digest`."""
        part, search = self.part, self.plan.tuned[method].search
        length = self.plan.requests[0], part.unlearning, part.epochs
        validation = part.validation.seeds, part.validation.n_pairs
        start = self._starting_points(method) or None
        return digest(*self.trainer.shared_inputs, *length, *validation, search, start)


def ues_row(trainer: Trainer, task: Task, method: str, settings: Settings) -> Row:
    """UES of a method's student by verification alone, its seconds, and whether it diverged."""
    student, columns = trainer.student(task, method, settings)
    row = measure_or_collapse(measure_ues, task, student)
    row = {name: row[name] for name in (*POINT, "diverged") if name in row}
    return {**row, "seconds": columns["seconds"], **divergence(columns)}
