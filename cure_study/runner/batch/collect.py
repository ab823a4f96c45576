"""Every result of a study as one tidy table, and what in it must not be averaged together."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from cure_core.files import atomic_path
from cure_study.runner.batch.state import done_runs
from cure_study.runner.batch.study import SEED_NAMES, Study, as_text
from cure_study.runner.run_folder import RESULTS

LIBRARIES = ("cure_core", "torch", "python")  # columns of versions that results may have


class Collected(NamedTuple):
    """Every result of a study, and a message for each run that could not be part of it."""

    table: pd.DataFrame
    left_out: list[str]


def collect(study: Study, runs_folder: Path) -> Collected:
    """Every row of every done run's `results.csv`, by whatever code and data it was run.

    Next to the columns of the results: `run` (the folder), `run_hash`, `notebook`, `profile`,
    `seed`, `run_seconds`; `version_*`, digests of notebook, code, data and weights; `param_*`,
    every parameter, as JSON unless a plain value. `condition` is the same for runs that differ only
    in the seed; `group` for those that may be averaged: one condition by one set of versions.
    Left out are damaged runs, and runs that wrote no `results.csv` or no row of it. Raises
    ValueError if results are not tidy.
    """
    done, damaged = done_runs(study.plan(), runs_folder)
    left_out = [f"{error.path.relative_to(runs_folder).parts[0]}: {error}" for error in damaged]
    parts = []
    for folder, record in done:
        path = folder / RESULTS
        rows = read_results(path) if path.is_file() else pd.DataFrame()
        if len(rows):
            columns = _run_columns(folder, record)
            if "seed" in rows:
                del columns["seed"]
            parts.append(rows.assign(**columns))
        else:
            reason = "has no row" if path.is_file() else "is not among its files"
            left_out.append(f"{folder.name}: {RESULTS} {reason}")
    return Collected(_concatenated(parts) if parts else pd.DataFrame(), left_out)


def _concatenated(parts: list[pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(parts, ignore_index=True)
    versions = [name for name in table if str(name).startswith("version_") or name in LIBRARIES]
    keys = ["condition", *versions]
    table["group"] = table.groupby(keys, sort=False, dropna=False).ngroup()
    for name in table.columns[table.dtypes.eq("object")]:
        if table[name].dropna().map(type).nunique() > 1:  # a column of a parquet is of one type
            table[name] = table[name].map(as_text, na_action="ignore")
    return table


def save(study: Study, runs_folder: Path) -> tuple[Path, list[str]]:
    """Write the table as `runs/STUDY.parquet`; returns its path, what is mixed and left out.

    Raises ValueError if no run has results.
    """
    collected = collect(study, runs_folder)
    if collected.table.empty:
        reasons = "".join(f"; {message}" for message in collected.left_out)
        raise ValueError(
            f"no run of {study.name} in {runs_folder} has results yet{reasons}; see `cure batch "
            "status`"
        )
    path = runs_folder / f"{study.name}.parquet"
    with atomic_path(path) as temporary:
        collected.table.to_parquet(temporary, index=False)
    left_out = [f"left out: {message}" for message in collected.left_out]
    return path, mixed_versions(collected.table) + left_out


def mixed_versions(table: pd.DataFrame) -> list[str]:
    """A message for each version that differs within a collected table, but should be one.

    Code and libraries should be one for all, a notebook for its runs, data for those that name
    the same data, weights for those that name the same weights.
    """
    keys = {
        "version_code": [],
        "version_notebook": ["notebook"],
        "version_data": ["param_dataset", "param_dataset_options"],
        "version_weights": ["param_weights"],
        **{name: [] for name in LIBRARIES},
    }
    messages = []
    for version in filter(table.columns.__contains__, keys):
        by = [name for name in keys[version] if name in table]
        for _, rows in table.groupby(by or (lambda _: 0), dropna=False):
            counts = rows.drop_duplicates("run_hash")[version].value_counts()
            if len(counts) > 1:
                found = ", ".join(f"{value} ({n} runs)" for value, n in counts.items())
                what = version.removeprefix("version_")
                messages.append(
                    f"results of {len(counts)} versions of {what}, not averaged together: {found}"
                )
    return messages


def _run_columns(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """What the table says of one run, the same in all its rows."""
    parameters = record["parameters"]
    fixed = {name: value for name, value in parameters.items() if name not in SEED_NAMES}
    seeds = parameters.get("seed", parameters.get("seeds"))
    return {
        "run": folder.name,
        "run_hash": record["version"],
        "notebook": record["notebook"],
        "profile": record["profile"],
        "run_seconds": record["seconds"],
        "condition": json.dumps([record["notebook"], fixed], sort_keys=True),
        "seed": seeds[0] if isinstance(seeds, list) and len(seeds) == 1 else _plain(seeds),
        **{f"version_{name}": value for name, value in record["versions"].items()},
        **{f"param_{name}": _plain(value) for name, value in parameters.items()},
    }


def read_results(path: Path) -> pd.DataFrame:
    """A run's results: at least metric, value, model, set, low and high.

    Raises ValueError if there is no metric or no value, or a value is not a number.
    """
    try:
        rows = pd.read_csv(
            path, keep_default_na=False, na_values=[""],
            dtype={"data": str, "setting": str},  # a digest may have digits only
        )  # fmt: skip
    except ValueError as error:  # empty, ragged, not UTF-8
        raise ValueError(f"{path} is not a table: {error}") from error
    if not isinstance(rows.index, pd.RangeIndex):  # pandas took the first column for an index
        raise ValueError(f"{path} is not a table: its rows are longer than its header")
    for name in ("metric", "value"):
        if name not in rows:
            raise ValueError(f"{path} has no column {name}; tidy results have one measure a row")
    optional = [name for name in ("model", "set", "low", "high") if name not in rows]
    rows = rows.reindex(columns=[*rows, *optional])
    for name in ("value", "low", "high"):
        try:
            rows[name] = pd.to_numeric(rows[name])
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: {name} is not a number everywhere: {error}") from error
    return rows.assign(**rows[["model", "set"]].astype(object).fillna("").astype(str))


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else json.dumps(value)
