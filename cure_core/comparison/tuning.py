"""Choosing a method's settings: the same trials for all, by the best UES on validation."""

from collections.abc import Mapping, Sequence

from cure_core.comparison.plan import Method, Settings

Trial = tuple[Settings, float]  # settings and the mean UES they had
STARTUP = 4  # trials drawn at random, the defaults among them, before the sampler learns


def propose(method: Method, trials: Sequence[Trial], seed: int = 0) -> Settings:
    """The settings of the next trial; it depends on the trials so far and on `seed` alone.

    The first is the method's defaults, the others are Optuna's tree-structured Parzen estimator's.
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
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed + len(trials), n_startup_trials=STARTUP)
    search = optuna.create_study(direction="maximize", sampler=sampler)
    for settings, value in trials:
        done = optuna.trial.create_trial(params=settings, distributions=ranges, value=value)
        search.add_trial(done)
    found = search.ask(ranges).params
    return {k: v if isinstance(v, int) else float(f"{v:.4g}") for k, v in found.items()}


def finalists(trials: Mapping[int, Trial], count: int) -> list[int]:
    """The numbers of the `count` trials of the highest UES, the first among equals before."""
    return sorted(trials, key=lambda number: -trials[number][1])[:count]


def best(trials: Sequence[Trial]) -> Settings:
    """The settings of the highest UES, the first among equals."""
    return max(trials, key=lambda trial: trial[1])[0]
