"""The tables of the comparison: their schemas, and the columns derived from each other."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cure_core.metrics.oracle_gap import tug_of_war
from cure_study.experiments.results_store import Table
from cure_study.experiments.typed_csv import Digest, Json, Row, Schema, read_csv, to_frame

KEYS = {
    "tuning": ["dataset", "method", "trial", "seed"],
    "comparison": ["dataset", "request", "seed", "method"],
    "frontier": ["dataset", "method", "factor", "seed"],
    "attacks": ["dataset", "seed", "method"],
}  # one table per stage
TYPES = {
    **{"dataset": str, "request": str, "method": str, "trial": int, "seed": int},
    **{"factor": float, "strength": str, "setting": Digest, "settings": Json, "diverged": str},
}  # of the columns that do not hold plain numbers
SCHEMAS = {name: Schema(tuple(key), TYPES) for name, key in KEYS.items()}
TRIAL = ["dataset", "method", "trial"]
REQUEST = ["dataset", "request", "seed"]
ACCURACIES = ["accuracy_forget", "accuracy_retain", "accuracy_test"]
MEASURES = (
    *("ues", "forgetting", "stability", *ACCURACIES),
    *("tar_forget", "membership_recall", "membership_recall_oracle", "seconds", "seconds_oracle"),
    *("tow", "ues_fresh", *(f"{name}_before" for name in ACCURACIES)),
)  # the first columns of the comparison after its key; others follow
FROM_ORACLE = ["membership_recall", "membership_auc", "seconds"]


def read_rows(folder: str | Path, name: str) -> pd.DataFrame:
    """The rows of a table so far; an empty table if there is no file.

    Raises ValueError naming the file and line if the CSV file is not such a table.
    """
    path = Path(folder) / f"{name}.csv"
    return to_frame(read_csv(path, SCHEMAS[name]) if path.is_file() else [], SCHEMAS[name])


def open_table(folder: Path, name: str) -> Table:
    """A table to add rows to."""

    def arrange(rows: pd.DataFrame) -> pd.DataFrame:
        rows = rows.sort_values(KEYS[name], kind="stable", ignore_index=True)
        return _with_oracle_columns(rows) if name == "comparison" else rows

    def replaces(new: Row, old: Row) -> bool:
        """A trial of another search replaces the rows of the trial on all seeds."""
        same_trial = all(new[part] == old[part] for part in TRIAL)
        return same_trial and new["setting"] != old["setting"]

    options = {"replaces": replaces} if name == "tuning" else {}
    return Table(folder / f"{name}.csv", SCHEMAS[name], arrange=arrange, **options)


def rounded(row: Row) -> Row:
    """To five significant digits: a rate can be as small as 1e-6."""
    return {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in row.items()}


def _with_oracle_columns(rows: pd.DataFrame) -> pd.DataFrame:
    """The comparison with each request's oracle in columns of their own, and `tow`.

    `tow` is the tug-of-war between a row's accuracies and the oracle's.
    """
    derived = ["tow", *(f"{name}_oracle" for name in FROM_ORACLE)]
    rows = rows.drop(columns=derived, errors="ignore")
    oracle = rows[rows.method == "oracle"][[*REQUEST, *FROM_ORACLE, *ACCURACIES]]
    rows = rows.merge(oracle, on=REQUEST, how="left", suffixes=("", "_oracle"))
    rows["tow"] = [_tug_of_war(row) for row in rows.to_dict("records")]
    rows = rows.drop(columns=[f"{name}_oracle" for name in ACCURACIES])
    first = [name for name in (*KEYS["comparison"], *MEASURES) if name in rows]
    return rows[[*first, *(name for name in rows if name not in first)]]


def _tug_of_war(row: Mapping[Any, Any]) -> float:
    after = {name: row[name] for name in ACCURACIES}
    oracle = {name: row[f"{name}_oracle"] for name in ACCURACIES}
    if np.isnan(list(oracle.values())).any():
        return np.nan
    return round(tug_of_war(after, oracle, ACCURACIES), 5)
