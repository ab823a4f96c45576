"""Does forgetting poor images leave a better model? The runs, a row each.

from cure_core import quality_study

rows = quality_study.run(quality_study.Setting(), seeds=[0, 1, 2, 3, 4], path="rows.csv")
"""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from cure_core.runtime.progress import bar
from cure_study.experiments.quality.bench import Bench, Condition, Setting
from cure_study.experiments.quality.worlds import verification_set
from cure_study.experiments.results_store import Digest, Row, Schema, Table, run_jobs, to_frame
from cure_study.paths import cache_root

__all__ = ["KEY", "Bench", "Condition", "Setting", "conditions", "rows_path", "run"]

KEY = ("training", "method", "order", "fraction")
SCHEMA = Schema(
    ("setting", "seed", *KEY),
    {"setting": Digest, "seed": int, "training": str, "method": str, "order": str}
    | {"fraction": float, "diverged": str},
)


def conditions(setting: Setting) -> list[Condition]:
    """Every run of a seed, in the order in which they are made."""
    runs = [Condition("natural", "teacher")]
    for f in setting.fractions:
        runs += [Condition("natural", method, "lowest", f) for method in ("cure_plus", "cure")]
        runs += [Condition("natural", "cure_plus", order, f) for order in ("random", "best")]
        runs += [Condition("natural", "fine_tune", "lowest", f)]
    for f in setting.oracle_fractions:
        runs += [Condition("natural", "oracle", order, f) for order in ("lowest", "random")]
    if setting.planted:
        f = setting.planted
        runs += [Condition("planted", "teacher")]
        for method in ("oracle", "cure_plus", "cure", "fine_tune"):
            runs += [Condition("planted", method, "planted", f)]
        runs += [Condition("planted", "oracle", "random", f)]
    return runs


def rows_path(setting: Setting) -> Path:
    """Where a setting's rows are kept by default: in the cache, by its digest."""
    return cache_root() / "quality" / f"{setting.key}.csv"


def run(
    setting: Setting,
    seeds: Iterable[int],
    path: str | Path | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Run every condition of every seed that has no row in the CSV file `path`.

    Several processes with one `path` share the runs. Returns the rows of this setting and these
    seeds, in the order of `conditions`. Raises ValueError for a file that is not a table of such
    rows, and what the steps raise; the rows saved by then stay.
    """
    table = Table(path if path is not None else rows_path(setting), SCHEMA)
    for name in setting.judges:  # an unknown one fails before any training
        verification_set(name)
    wanted = [
        {"setting": setting.key, "seed": seed, **asdict(condition)}
        for seed in seeds
        for condition in conditions(setting)
    ]
    bench: Bench | None = None

    def run_one(key: Row, wait: bool) -> bool:
        def made() -> Row:
            nonlocal bench
            if bench is None or (bench.seed, bench.training) != (key["seed"], key["training"]):
                bench = Bench(setting, key["seed"], key["training"])
            return bench.carry_out(Condition(*(key[name] for name in KEY)))

        return table.once(key, made, wait)

    run_jobs(bar(wanted, "runs", progress, unit="run"), run_one)
    return to_frame([row for key in wanted for row in table.find(key)], SCHEMA)
