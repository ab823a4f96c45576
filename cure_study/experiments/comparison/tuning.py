"""Choosing a method's settings: the same trials for all, by the best UES on validation."""

import json
from collections.abc import Sequence

import pandas as pd

from cure_study.experiments.comparison.plan import DatasetPlan, Method, Settings

Trial = tuple[Settings, float]  # settings and the mean UES they had
STARTUP = 4  # trials drawn at random, the defaults among them, before the sampler learns
EXPLORED = 12  # trials after which a Gaussian process takes over


def propose(
    method: Method, trials: Sequence[Trial], seed: int = 0, explored: int = EXPLORED
) -> Settings:
    """The settings of the next trial; it depends on the trials so far and on `seed` alone.

    The first is the method's defaults. The others are Optuna's: by its tree-structured Parzen
    estimator, which looks around, and from `explored` trials on by its Gaussian process, which
    makes more of them. Where these come back to settings already tried, as they do at an end of a
    range, a random draw stands in: a method is owed as many settings as the others.
    """
    import optuna
    from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

    if not trials:
        return method.defaults()
    ranges: dict[str, BaseDistribution] = {
        name: IntDistribution(low, high, log=True)
        if isinstance(low, int) and isinstance(high, int)
        else FloatDistribution(low, high, log=True)
        for name, (low, _, high) in method.search.items()
    }
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers, drawn = optuna.samplers, seed + len(trials)
    learnt: optuna.samplers.BaseSampler = (
        samplers.TPESampler(seed=drawn, n_startup_trials=STARTUP)
        if len(trials) < explored
        else samplers.GPSampler(seed=drawn, n_startup_trials=STARTUP)
    )
    tried = [settings for settings, _ in trials]
    for sampler in (learnt, samplers.RandomSampler(seed=drawn)):
        search = optuna.create_study(direction="maximize", sampler=sampler)
        for settings, value in trials:
            done = optuna.trial.create_trial(params=settings, distributions=ranges, value=value)
            search.add_trial(done)
        asked = search.ask(ranges).params
        found = {k: v if isinstance(v, int) else float(f"{v:.4g}") for k, v in asked.items()}
        if found not in tried:
            break
    return found


def trials_on(table: pd.DataFrame, seeds: Sequence[int]) -> dict[int, Trial]:
    """The trials that a method's rows hold on all of some seeds, by number; UES is the mean."""
    own = table[table.seed.isin(seeds)] if len(table) else table
    cases = {int(trial): own[own.trial == trial] for trial in sorted(own.trial.unique())}
    return {
        trial: (json.loads(case.settings.iloc[0]), float(case.ues.mean()))
        for trial, case in cases.items()
        if len(case) == len(seeds)
    }


def finalists(table: pd.DataFrame, arena: DatasetPlan) -> dict[int, Trial]:
    """The trials of the highest mean UES on the seeds that all are tried on, best first.

    Of trials with the same settings the first alone.
    """
    done = trials_on(table, arena.validation.seeds)
    first: dict[str, int] = {}
    for trial, (settings, _) in done.items():
        if trial < arena.trials:
            first.setdefault(json.dumps(settings), trial)
    best = sorted(first.values(), key=lambda trial: -done[trial][1])
    return {trial: done[trial] for trial in best[: arena.validation.finalists]}


def winner(table: pd.DataFrame, arena: DatasetPlan) -> tuple[int, Settings] | None:
    """The finalist of the highest mean UES on all validation seeds; None while a run is missing.

    The first among equals, in the order of the trials before the finals.
    """
    v, ahead = arena.validation, finalists(table, arena)
    done, judged = (trials_on(table, seeds) for seeds in (v.seeds, [*v.seeds, *v.finals]))
    if not set(range(arena.trials)) <= set(done) or not set(ahead) <= set(judged):
        return None
    won = max(ahead, key=lambda trial: judged[trial][1])
    return won, ahead[won][0]
