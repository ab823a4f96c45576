"""Does forgetting poor pictures leave a better model? The runs, a row each.

from cure_core import quality_study

rows = quality_study.run(quality_study.Setting(), seeds=[0, 1, 2, 3, 4], path="rows.csv")
"""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from cure_core.files import cache_root
from cure_core.progress import bar
from cure_core.quality_bench import Bench, Condition, Setting
from cure_core.quality_worlds import verification_set
from cure_core.rows import add_row, has_row, read_rows, select

__all__ = ["KEY", "Bench", "Condition", "Setting", "conditions", "rows_path", "run"]

KEY = ("training", "method", "order", "fraction")


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
    """Where a setting's rows are kept unless told otherwise: in the cache, by its digest."""
    return cache_root() / "quality" / f"{setting.key}.csv"


def run(
    setting: Setting,
    seeds: Iterable[int],
    path: str | Path | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Every condition of every seed, each saved as it is finished; those saved are not run again.

    Returns the rows of this setting and these seeds. Raises what the steps raise; the rows saved
    by then stay.
    """
    path = Path(path) if path is not None else rows_path(setting)
    for name in setting.judges:  # told before any training
        verification_set(name)
    seeds = list(seeds)
    wanted = [(seed, condition) for seed in seeds for condition in conditions(setting)]
    bench: Bench | None = None
    for seed, condition in bar(wanted, "runs", progress, unit="run"):
        key = {"setting": setting.key, "seed": seed, **asdict(condition)}
        if has_row(read_rows(path), key):
            continue
        if bench is None or (bench.seed, bench.training) != (seed, condition.training):
            bench = Bench(setting, seed, condition.training)
        add_row(path, {**key, **bench.carry_out(condition)})
    rows = select(read_rows(path), {"setting": setting.key})
    return rows[rows["seed"].isin(seeds)].reset_index(drop=True)
