"""Rows of any columns in a CSV file, without a schema: see `results_store`."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from cure_study.experiments.results_store import Schema, Table


def read_rows(path: str | Path) -> pd.DataFrame:
    """The rows saved so far; an empty table where there are none yet."""
    return Table(path, Schema()).rows()


def add_row(path: str | Path, row: Mapping[str, object]) -> None:
    """Add one finished run; a row that is there already is not added again."""
    Table(path, Schema()).put(row)


def has_row(rows: pd.DataFrame, key: Mapping[str, object]) -> bool:
    """Whether a run with these values in these columns is among the rows."""
    return not select(rows, key).empty


def select(rows: pd.DataFrame, key: Mapping[str, object]) -> pd.DataFrame:
    """The rows that have these values in these columns."""
    if rows.empty or not set(key) <= set(rows.columns):
        return rows.iloc[:0]
    chosen = pd.Series(True, index=rows.index)
    for name, value in key.items():
        chosen &= rows[name] == value
    return rows[chosen]
