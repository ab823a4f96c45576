"""What the rows of the tuning say: the winners, and rows that were run with other settings."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from cure_study.experiments.comparison.methods import UNTUNED
from cure_study.experiments.comparison.plan import Plan
from cure_study.experiments.comparison.tuning import complete_trials, finalists, winner


def planned_trials(trials: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The rows of the tuning that belong to the plan.

    A longer search may be in progress, and a shorter one may have left other finals.
    """
    kept = []
    for (dataset, _), rows in trials.groupby(["dataset", "method"], sort=False):
        part = plan.data[str(dataset)]
        validation = part.validation
        first = rows.seed.isin(validation.seeds) & (rows.trial < part.trials)
        last = rows.seed.isin(validation.finals) & rows.trial.isin(list(finalists(rows, part)))
        kept += [rows[first], rows[last]]
    return pd.concat(kept) if kept else trials


def winners(trials: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The settings that won, one row per data set and tuned method.

    `trials` are rows of the tuning. `trial` and `settings` are the winner's; `ues`, `forgetting`,
    `stability` its means over all validation seeds; `defaults` the UES of the first trial on the
    seeds of every trial; `at_bound` the settings at an end of their range, beyond which there may
    be better ones.
    """
    lines: list[dict[str, object]] = []
    for (dataset, method), rows in trials.groupby(["dataset", "method"], sort=False):
        part = plan.data[str(dataset)]
        if (won := winner(rows, part)) is None:
            continue
        trial, settings = won
        seeds = part.validation.all_seeds
        means = rows[(rows.trial == trial) & rows.seed.isin(seeds)]
        search = plan.tuned[str(method)].search if method in plan.tuned else {}
        ends = {name: (low, high) for name, (low, _, high) in search.items()}
        at_bound = [name for name, value in settings.items() if value in ends.get(name, ())]
        lines.append(
            {
                "dataset": dataset, "method": method, "trial": trial,
                "defaults": complete_trials(rows, part.validation.seeds)[0][1],
                **means[["ues", "forgetting", "stability"]].mean(), "settings": settings,
                "at_bound": ", ".join(at_bound),
            }
        )  # fmt: skip
    return pd.DataFrame(lines)


def stale(rows: pd.DataFrame, trials: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The rows of comparison or attacks with settings other than those that won the tuning.

    Means over them mix settings; `compare` runs them again. The teacher's and the oracles' have no
    settings and are never stale.
    """
    untuned = [name for name, method in plan.tuned.items() if not method.search]
    won: dict[tuple[Any, Any], Any] = {(d, name): {} for d in plan.data for name in untuned}
    won |= {
        (line["dataset"], line["method"]): line["settings"]
        for line in winners(trials, plan).to_dict("records")
    }

    def is_stale(row: Mapping[Any, Any]) -> bool:
        settings = won.get((plan.tuned_on(row["dataset"]), plan.objective(row["method"])))
        return settings is None or row["settings"] != plan.written(row["method"], settings)

    tuned = rows[~rows.method.isin(UNTUNED)]
    return tuned[[is_stale(row) for row in tuned.to_dict("records")]]
