"""The study's own result, and how often intervals hold the true mean."""

from collections.abc import Callable

import pandas as pd

from page_tables.rows import each_seed, read

COVERAGE_POPULATIONS = (
    *("recall near 0, skewed", "recall near 0, counts of 100"),
    *("AUC near 1, skewed", "UES of 0.94, clipped at 1", "UES of 0.67"),
)
COVERAGE_METHODS = (
    *("Student's t, cut to [0, 1]", "t, logit of the mean", "score, dispersion and t (chosen)"),
)


def quick() -> pd.DataFrame:
    """Every measure of `make study`, profile quick: the values of its three seeds."""
    rows = read("measures")
    models = {"before": "before", "after": "after", "oracle": "oracle"}
    return pd.DataFrame(
        {
            "measure": measure,
            **{
                title: each_seed(rows[(rows.measure == measure) & (rows.model == model)].value)
                for model, title in models.items()
            },
        }
        for measure in dict.fromkeys(rows.measure)
    )


def coverage() -> pd.DataFrame:
    """How often 95 % intervals contain the true mean, and how wide they are."""
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


TABLES: dict[str, Callable[[], pd.DataFrame]] = {"quick": quick, "coverage": coverage}
