"""Results that grow a row at a time: a run that was stopped goes on where it was."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from cure_core.report import save_table


def read_rows(path: str | Path) -> pd.DataFrame:
    """The rows saved so far; an empty table where there are none yet."""
    path = Path(path)
    return pd.read_csv(path, keep_default_na=True) if path.is_file() else pd.DataFrame()


def add_row(path: str | Path, row: Mapping[str, object]) -> None:
    """Append one finished run; the file is replaced whole, so that a stop leaves the old one."""
    save_table(pd.concat([read_rows(path), pd.DataFrame([row])], ignore_index=True), path)


def has_row(rows: pd.DataFrame, key: Mapping[str, object]) -> bool:
    """Whether a run with these values in these columns is among the rows."""
    return not select(rows, key).empty


def select(rows: pd.DataFrame, key: Mapping[str, object]) -> pd.DataFrame:
    """The rows that have these values in these columns."""
    names: Sequence[str] = list(key)
    if rows.empty or not set(names) <= set(rows.columns):
        return rows.iloc[:0]
    chosen = pd.Series(True, index=rows.index)
    for name in names:
        chosen &= rows[name] == key[name]
    return rows[chosen]
