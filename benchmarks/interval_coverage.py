"""How often 95 % intervals over few seeds hold the true mean, and how wide they are, by simulation.

    PYTHONPATH=. python benchmarks/interval_coverage.py [--draws 20000] [--people-draws 600]

Draws three or five values from populations like the study's measures, whose true mean is known:
recalls near 0, AUCs near 1, clipped UES, scores in the middle; paired differences of two such; and
people whose features differ by nothing or by something, for `detection_auc`. Writes
figures/interval_coverage.csv: kind, population, mean, n, method, coverage (of the draws that have
an interval of some width), given (their share), width. About three minutes of one core.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import beta, ksone, t

from cure_core.metrics.intervals import share_interval
from cure_study.evaluation.report import save_table
from cure_study.experiments.attacks.outliers import detection_auc

Rng = np.random.Generator
Bounds = tuple[np.ndarray, np.ndarray]  # low and high, a row a draw
SEEDS = (3, 5)
SHARES: dict[str, Callable[[Rng, int], np.ndarray]] = {
    "recall near 0, skewed": lambda rng, n: rng.beta(0.2, 15, n),
    "recall near 0, counts of 100": lambda rng, n: rng.binomial(100, rng.beta(0.3, 15, n)) / 100,
    "recall near 0, often 0": lambda rng, n: rng.beta(1, 20, n) * (rng.random(n) < 0.4),
    "recall near 0, even": lambda rng, n: rng.beta(2, 150, n),
    "recall about 0.07": lambda rng, n: rng.beta(1, 13, n),
    "AUC near 1, skewed": lambda rng, n: rng.beta(20, 0.4, n),
    "UES of 0.94, clipped at 1": lambda rng, n: np.clip(rng.normal(0.97, 0.1, n), 0, 1),
    "UES of 0.89, clipped at 1": lambda rng, n: np.clip(rng.normal(0.9, 0.1, n), 0, 1),
    "UES of 0.67": lambda rng, n: rng.normal(0.67, 0.035, n),
    "rank-1 of 0.33, wide": lambda rng, n: rng.beta(2, 4, n),
    "rank-1 of 0.30, at both ends": lambda rng, n: rng.beta(0.3, 0.7, n),
}


def student(x: np.ndarray) -> Bounds:
    """Student's t, uncut."""
    n = x.shape[1]
    reach = t.ppf(0.975, n - 1) * x.std(axis=1, ddof=1) / np.sqrt(n)
    return x.mean(axis=1) - reach, x.mean(axis=1) + reach


def cut_student(x: np.ndarray) -> Bounds:
    low, high = student(x)
    return low.clip(0), high.clip(max=1)


def arcsine(x: np.ndarray) -> Bounds:
    """Student's t of the values' arcsine square roots, turned back."""
    low, high = student(np.arcsin(np.sqrt(x)))
    return np.sin(low.clip(0)) ** 2, np.sin(high.clip(max=np.pi / 2)) ** 2


def logit(x: np.ndarray, shrink: float = 0.005) -> Bounds:
    """Student's t of the values' logits, shrunk off 0 and 1, turned back."""
    low, high = student(np.log((x + shrink) / (1 - x + shrink)))
    back = [((1 + shrink) * np.exp(z) - shrink) / (1 + np.exp(z)) for z in (low, high)]
    return back[0].clip(0, 1), back[1].clip(0, 1)


def logit_of_the_mean(x: np.ndarray) -> Bounds:
    """Student's t on the scale of the mean's logit, by the delta method."""
    mean = x.mean(axis=1).clip(1e-12, 1 - 1e-12)
    low, high = student(x)
    reach = (high - low) / 2 / (mean * (1 - mean))
    middle = np.log(mean / (1 - mean))
    return 1 / (1 + np.exp(reach - middle)), 1 / (1 + np.exp(-reach - middle))


def beta_posterior(x: np.ndarray) -> Bounds:
    """Jeffreys' prior, each value worth as many trials as the dispersion says."""
    n, mean = x.shape[1], x.mean(axis=1)
    trials = n * (mean * (1 - mean) / x.var(axis=1, ddof=1).clip(1e-12) - 1).clip(0)
    a, b = mean * trials + 0.5, (1 - mean) * trials + 0.5
    return beta.ppf(0.025, a, b), beta.ppf(0.975, a, b)


def score(x: np.ndarray) -> Bounds:
    """`share_interval`, the study's."""
    found = np.array([share_interval(values) for values in x])
    return found[:, 1], found[:, 2]


def bootstrap_t(x: np.ndarray, replicates: int = 200) -> Bounds:
    """Studentised bootstrap, cut; resamples without spread are left out."""
    rng, n = np.random.default_rng(0), x.shape[1]
    resampled = x[:, rng.integers(n, size=(replicates, n))]
    mean, error = x.mean(axis=1), x.std(axis=1, ddof=1) / np.sqrt(n)
    spread = resampled.std(axis=2, ddof=1) / np.sqrt(n)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(spread > 1e-12, (resampled.mean(axis=2) - mean[:, None]) / spread, np.nan)
    ratio[np.isnan(ratio).all(axis=1)] = 0
    low, high = np.nanquantile(ratio, [0.975, 0.025], axis=1)
    return (mean - low * error).clip(0), (mean - high * error).clip(max=1)


def hoeffding(x: np.ndarray) -> Bounds:
    reach = np.sqrt(np.log(40) / 2 / x.shape[1])
    return (x.mean(axis=1) - reach).clip(0), (x.mean(axis=1) + reach).clip(max=1)


def empirical_bernstein(x: np.ndarray) -> Bounds:
    """Maurer and Pontil's."""
    n, log = x.shape[1], np.log(80)
    reach = np.sqrt(2 * x.var(axis=1, ddof=1) * log / n) + 7 * log / (3 * (n - 1))
    return (x.mean(axis=1) - reach).clip(0), (x.mean(axis=1) + reach).clip(max=1)


def anderson(x: np.ndarray) -> Bounds:
    """The means of the lowest and highest distributions within Kolmogorov's band."""
    n = x.shape[1]
    steps = np.diff(np.pad(np.sort(x, axis=1), ((0, 0), (1, 1)), constant_values=(0, 1)), axis=1)
    below, band = np.arange(n + 1) / n, ksone.ppf(0.975, n)
    bounds = [(steps * (1 - (below + sign * band).clip(0, 1))).sum(axis=1) for sign in (1, -1)]
    return bounds[0], bounds[1]


METHODS: dict[str, Callable[[np.ndarray], Bounds]] = {
    "Student's t": student,
    "Student's t, cut to [0, 1]": cut_student,
    "t of arcsine roots": arcsine,
    "t of shrunk logits": logit,
    "t, logit of the mean": logit_of_the_mean,
    "Beta posterior": beta_posterior,
    "bootstrap t": bootstrap_t,
    "score, dispersion and t (chosen)": score,
    "Anderson": anderson,
    "Hoeffding": hoeffding,
    "empirical Bernstein": empirical_bernstein,
}


def shares(draws: int) -> Iterator[dict[str, object]]:
    """Every method on every population of shares."""
    for name, population in SHARES.items():
        mean = float(population(np.random.default_rng(1), 2_000_000).mean())
        for n in SEEDS:
            x = population(np.random.default_rng([2, n]), draws * n).reshape(draws, n)
            for method, interval in METHODS.items():
                few = x[: draws // 10] if interval in (score, bootstrap_t) else x
                yield row("share", name, mean, n, method, interval(few))


def differences(draws: int) -> Iterator[dict[str, object]]:
    """Student's t of paired differences, which share a part by their seed."""
    pairs = [
        ("UES of 0.94, clipped at 1", "UES of 0.67"),
        ("UES of 0.89, clipped at 1", "UES of 0.94, clipped at 1"),
        ("recall about 0.07", "recall near 0, skewed"),
        ("recall near 0, skewed", "rank-1 of 0.33, wide"),
    ]
    for one, other in pairs:

        def drawn(rng: Rng, size: int, one: str = one, other: str = other) -> np.ndarray:
            return SHARES[one](rng, size) - SHARES[other](rng, size)

        mean = float(drawn(np.random.default_rng(1), 2_000_000).mean())
        for n in SEEDS:
            x = drawn(np.random.default_rng([3, n]), draws * n).reshape(draws, n)
            low, high = student(x)
            bounds = low.clip(-1), high.clip(max=1)
            name = f"{one} less {other}"
            yield row("difference", name, mean, n, "Student's t, cut to [-1, 1]", bounds)


def people(draws: int) -> Iterator[dict[str, object]]:
    """`detection_auc` of forgotten people and strangers whose features lie `shift` apart."""
    for forgotten, strangers, shift in ((15, 15, 0), (15, 25, 0), (15, 15, 1), (15, 15, 2.5)):
        rng = np.random.default_rng(4)

        def faces(count: int, shift: float = 0, rng: Rng = rng) -> pd.DataFrame:
            own = rng.normal(shift, 1, size=(count, 4)).repeat(6, axis=0)
            return pd.DataFrame(own + rng.normal(size=own.shape))

        ones, others = (np.arange(count).repeat(6) for count in (forgotten, strangers))
        found = np.array(
            [
                detection_auc(faces(forgotten, shift), faces(strangers), ones, others, seed=k)
                for k in range(draws)
            ]
        )
        mean = float(found[:, 0].mean())
        name = f"features {shift} apart, {forgotten} forgotten, {strangers} strangers"
        truth = mean if shift else 0.5
        measured = row("AUC", name, truth, forgotten, "told_apart_auc", (found[:, 1], found[:, 2]))
        yield {**measured, "mean": mean}  # beside 1/2 where nothing differs


def row(
    kind: str, population: str, mean: float, n: int, method: str, bounds: Bounds
) -> dict[str, object]:
    low, high = bounds
    has = high > low  # not where the values have no spread
    held = (low[has] <= mean) & (mean <= high[has])
    return {
        "kind": kind, "population": population, "mean": round(mean, 4), "n": n, "method": method,
        "coverage": round(float(held.mean()), 3), "given": round(float(has.mean()), 3),
        "width": round(float((high - low)[has].mean()), 3),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=20_000)
    parser.add_argument("--people-draws", type=int, default=600)
    parser.add_argument("--tables", type=Path, default=Path("figures"))
    arguments = parser.parse_args()
    rows = [
        *shares(arguments.draws),
        *differences(arguments.draws),
        *people(arguments.people_draws),
    ]
    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    save_table(table, arguments.tables / "interval_coverage.csv")


if __name__ == "__main__":
    main()
