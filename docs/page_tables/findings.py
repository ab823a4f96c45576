"""The tables of docs/findings.md; goes when that page is split."""

from collections.abc import Callable
from functools import partial

import pandas as pd

from cure_core.metrics.intervals import seed_interval
from cure_study.figures.attacks_by_method import ATTACKS
from cure_study.figures.comparison import methods_by_score
from page_tables.rows import DATASETS, random_people, read

COVERAGE_POPULATIONS = (
    *("recall near 0, skewed", "recall near 0, counts of 100"),
    *("AUC near 1, skewed", "UES of 0.94, clipped at 1", "UES of 0.67"),
)
COVERAGE_METHODS = (
    *("Student's t, cut to [0, 1]", "t of arcsine roots", "t, logit of the mean"),
    *("Beta posterior", "bootstrap t", "score, dispersion and t (chosen)", "Anderson"),
)


def attacks(dataset: str) -> pd.DataFrame:
    """Each attack on each method's student, best UES of the comparison first; blank if not run."""
    rows = read("attacks")
    rows = rows[rows.dataset == dataset]
    methods = [m for m in methods_by_score(random_people("synthfaces")) if m in set(rows.method)]
    methods.sort(key=lambda method: method in ("oracle", "teacher"))
    lines = []
    for method in methods:
        name = method if method in ("oracle", "teacher") else f"`{method}`"
        line = {DATASETS[dataset]: name}
        for column, (label, _) in ATTACKS.items():
            values = rows[rows.method == method][column]
            text = seed_interval(values, column).text() if values.notna().all() else ""
            line[label.replace("\n", " ")] = text
        lines.append(line)
    return pd.DataFrame(lines)


def coverage() -> pd.DataFrame:
    """How often intervals hold the true mean, and how wide they are."""
    rows = read("interval_coverage")
    rows = rows[rows.kind == "share"].set_index(["method", "population", "n"])
    lines = []
    for method in COVERAGE_METHODS:
        for population in COVERAGE_POPULATIONS:
            few, more = rows.loc[(method, population, 3)], rows.loc[(method, population, 5)]
            lines.append(
                {
                    "interval": method,
                    "values": population,
                    "coverage, n = 3": f"{few.coverage:.2f}",
                    "coverage, n = 5": f"{more.coverage:.2f}",
                    "width, n = 3": f"{few.width:.2f}",
                    "width, n = 5": f"{more.width:.2f}",
                }
            )
    return pd.DataFrame(lines)


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "attacks-synthfaces": partial(attacks, "synthfaces"),
    "attacks-lfw": partial(attacks, "lfw"),
    "coverage": coverage,
}
