"""Choosing a method's settings: equally many trials for all, by the best UES on validation seeds.

The table of trials is the only record of a search, so that a clone of the repository continues it:
Optuna's study is rebuilt from it for each proposal, and the sampler seeded by the trial's number.
"""

import json
from collections.abc import Sequence

import pandas as pd

from cure_study.experiments.comparison.plan import DatasetPlan, Method, Settings

Trial = tuple[Settings, float]  # settings and their mean UES
STARTUP = 4  # random trials, the defaults among them, before the sampler models the score
EXPLORED = 12  # trials after which a Gaussian process takes over


def propose(
    method: Method, trials: Sequence[Trial], seed: int = 0, explored: int = EXPLORED
) -> Settings:
    """The settings of the next trial, which depend only on the trials so far and on `seed`.

    The first are the method's defaults. The others come from Optuna: from its tree-structured
    Parzen estimator, which explores, and after `explored` trials from its Gaussian process, which
    exploits. If that proposes settings already tried, as it does at the end of a range, a random
    draw replaces them: every method gets equally many different settings.
    """
    import optuna
    from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
    from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

    if not trials:
        return method.defaults()
    ranges: dict[str, BaseDistribution] = {
        name: IntDistribution(low, high, log=True)
        if isinstance(low, int) and isinstance(high, int)
        else FloatDistribution(low, high, log=True)
        for name, (low, _, high) in method.search.items()
    }
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    for settings, ues in trials:
        study.add_trial(optuna.trial.create_trial(params=settings, distributions=ranges, value=ues))
    seed += len(trials)
    model: type[TPESampler] | type[GPSampler] = TPESampler if len(trials) < explored else GPSampler
    samplers: list[BaseSampler] = [
        model(seed=seed, n_startup_trials=STARTUP),
        RandomSampler(seed=seed),
    ]
    tried = [settings for settings, _ in trials]
    for sampler in samplers:
        study.sampler = sampler
        params = study.ask(ranges).params
        found = {k: v if isinstance(v, int) else float(f"{v:.4g}") for k, v in params.items()}
        if found not in tried:
            break
    return found


def complete_trials(table: pd.DataFrame, seeds: Sequence[int]) -> dict[int, Trial]:
    """By number, the trials of a method that have a row on all of `seeds`; UES is the mean."""
    trials = table[table.seed.isin(seeds)].groupby("trial")
    return {
        int(rows.trial.iloc[0]): (json.loads(rows.settings.iloc[0]), float(rows.ues.mean()))
        for _, rows in trials
        if len(rows) == len(seeds)
    }


def finalists(table: pd.DataFrame, part: DatasetPlan) -> dict[int, Trial]:
    """The trials with the highest mean UES on the validation seeds, best first.

    Of trials with the same settings only the first counts.
    """
    done = complete_trials(table, part.validation.seeds)
    first: dict[str, int] = {}
    for trial, (settings, _) in done.items():
        if trial < part.trials:
            first.setdefault(json.dumps(settings), trial)
    best = sorted(first.values(), key=lambda trial: -done[trial][1])
    return {trial: done[trial] for trial in best[: part.validation.finalists]}


def winner(table: pd.DataFrame, part: DatasetPlan) -> tuple[int, Settings] | None:
    """The finalist with the highest mean UES on all validation seeds; None while a run is missing.

    Of equal ones the one that was better before the finals.
    """
    done = complete_trials(table, part.validation.seeds)
    final = complete_trials(table, part.validation.all_seeds)
    best = finalists(table, part)
    if not set(range(part.trials)) <= set(done) or not set(best) <= set(final):
        return None
    won = max(best, key=lambda trial: final[trial][1])
    return won, best[won][0]
