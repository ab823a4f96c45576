"""Every result of a study as one tidy table, and what in it must not be averaged together."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cure_core.files import atomic_path
from cure_study.runner.batch.state import done_runs
from cure_study.runner.batch.study import SEED_NAMES, Study, shown
from cure_study.runner.run_folder import RESULTS

# what else a result follows from, where the results tell it
LIBRARIES = ("cure_core", "torch", "python")


class NothingYetError(ValueError):
    """No run has results."""


@dataclass(frozen=True)
class Collected:
    """Every result of a study (`collect`), and in words what could not be part of it, by run."""

    table: pd.DataFrame
    left_out: list[str]


def gather(study: Study, where: Path) -> Collected:
    """The table of `collect`, empty where no run has results, with what was left out of it.

    Left out are damaged runs, and runs that wrote no `results.csv` or no row of it. Raises
    ValueError where results are not tidy.
    """
    done, damaged = done_runs(study.plan(), where)
    left_out = [f"{error.path.relative_to(where).parts[0]}: {error}" for error in damaged]
    parts = []
    for folder, record in done:
        path = folder / RESULTS
        rows = _tidy(path) if path.is_file() else pd.DataFrame()
        if len(rows):
            parts.append(rows.assign(**_beside(folder, record, rows)))
        else:
            lack = "has no row" if path.is_file() else "is not among its files"
            left_out.append(f"{folder.name}: {RESULTS} {lack}")
    return Collected(_joined(parts), left_out)


def collect(study: Study, where: Path) -> pd.DataFrame:
    """Every row of every done run's `results.csv`, by whatever code and data it was run.

    Beside the columns of the results: `run` (the folder), `run_hash`, `notebook`, `profile`,
    `seed`, `run_seconds`; `version_*`, digests of notebook, code, data and weights; `param_*`,
    every parameter, as JSON where it is no plain value. `condition` is the same for runs that
    differ only in the seed; `group` for those that may be averaged: one condition by one set of
    versions. Raises NothingYetError where no run has results, ValueError where some are not tidy.
    """
    return _some(gather(study, where), study, where).table


def _some(collected: Collected, study: Study, where: Path) -> Collected:
    if not len(collected.table):
        why = "".join(f"; {why}" for why in collected.left_out)
        raise NothingYetError(
            f"no run of {study.name} in {where} has results yet{why}; see `cure batch status`"
        )
    return collected


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    if not parts:
        return pd.DataFrame()
    table = pd.concat(parts, ignore_index=True)
    versions = [name for name in table if str(name).startswith("version_")]
    versions += [name for name in LIBRARIES if name in table]
    keys = table[["condition", *versions]].astype(str).agg(" ".join, axis=1)
    table["group"] = keys.map({key: number for number, key in enumerate(keys.unique())})
    for name in table.columns[table.dtypes.eq("object")]:
        if table[name].dropna().map(type).nunique() > 1:  # a column of a parquet is of one type
            table[name] = table[name].map(shown, na_action="ignore")
    return table


def save(study: Study, where: Path) -> tuple[Path, list[str]]:
    """Write the table as `runs/STUDY.parquet`; returns its path, what is mixed and left out."""
    collected = _some(gather(study, where), study, where)
    table = collected.table
    path = where / f"{study.name}.parquet"
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False)
    return path, [*flags(table), *(f"left out: {why}" for why in collected.left_out)]


def flags(table: pd.DataFrame) -> list[str]:
    """What in a collected table is mixed, in words: versions that should be one.

    Code and libraries should be one for all, a notebook for its runs, data for those that name
    the same data, weights for those that name the same weights.
    """
    data = [name for name in ("param_dataset", "param_dataset_options") if name in table]
    weights = [name for name in ("param_weights",) if name in table]
    alike = {"version_code": [], "version_notebook": ["notebook"], "version_data": data}
    alike |= {"version_weights": weights} | {name: [] for name in LIBRARIES if name in table}
    found = []
    for version, keys in alike.items():
        shares = table.groupby(keys, dropna=False) if keys else [((), table)]
        for _, own in shares:
            runs = own.drop_duplicates("run_hash")[version].value_counts()
            if len(runs) > 1:
                told = ", ".join(f"{name} ({n} runs)" for name, n in runs.items())
                what = version.removeprefix("version_")
                found.append(f"results of {len(runs)} versions of {what}, kept apart: {told}")
    return found


def _beside(folder: Path, record: dict[str, Any], rows: pd.DataFrame) -> dict[str, Any]:
    """The columns of one run."""
    parameters = record["parameters"]
    fixed = {name: value for name, value in parameters.items() if name not in SEED_NAMES}
    columns = {
        "run": folder.name,
        "run_hash": record["version"],
        "notebook": record["notebook"],
        "profile": record["profile"],
        "run_seconds": record["seconds"],
        "condition": json.dumps([record["notebook"], fixed], sort_keys=True),
        **{f"version_{name}": value for name, value in record["versions"].items()},
        **{f"param_{name}": _plain(value) for name, value in parameters.items()},
    }
    if "seed" not in rows:
        columns["seed"] = _seed(parameters)
    return columns


def _tidy(path: Path) -> pd.DataFrame:
    """A run's results, with every column that is counted on.

    Raises ValueError where there is no metric or no value, and for a value that is no number.
    """
    digests = {"data": str, "setting": str}  # one of digits alone is still no number
    try:
        rows = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=digests)
    except ValueError as error:  # empty, ragged, not UTF-8
        raise ValueError(f"{path} is not a table: {error}") from error
    if not isinstance(rows.index, pd.RangeIndex):  # pandas took the first column for an index
        raise ValueError(f"{path} is not a table: its rows are longer than its header")
    for name in ("metric", "value"):
        if name not in rows:
            raise ValueError(f"{path} has no column {name}; tidy results are one measure a row")
    for name, default in (("model", ""), ("set", ""), ("low", np.nan), ("high", np.nan)):
        if name not in rows:
            rows[name] = default
    for name in ("value", "low", "high"):
        try:
            rows[name] = pd.to_numeric(rows[name])
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: {name} is not a number everywhere: {error}") from error
    named = ["model", "set"]
    return rows.assign(**rows[named].fillna("").astype(str))


def _seed(parameters: dict[str, Any]) -> Any:
    seeds = parameters.get("seed", parameters.get("seeds"))
    return seeds[0] if isinstance(seeds, list) and len(seeds) == 1 else _plain(seeds)


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else json.dumps(value)
