"""The tables of the comparison, which grow a row at a time and can be shared by processes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cure_core.metrics.oracle_gap import tug_of_war
from cure_study.experiments.results_store import Digest, Json, Schema, Table, read_csv, to_frame

Row = dict[str, Any]
KEYS = {
    "tuning": ["dataset", "method", "trial", "seed"],
    "comparison": ["dataset", "request", "seed", "method"],
    "frontier": ["dataset", "method", "factor", "seed"],
    "attacks": ["dataset", "seed", "method"],
}  # the tables, one a stage
TYPES = {
    **{"dataset": str, "request": str, "method": str, "trial": int, "seed": int},
    **{"factor": float, "strength": str, "setting": Digest, "settings": Json, "diverged": str},
}  # of the columns that do not hold plain numbers
SCHEMAS = {name: Schema(tuple(key), TYPES) for name, key in KEYS.items()}
TRIAL = KEYS["tuning"][:3]
REQUEST = KEYS["comparison"][:3]
ACCURACIES = ["accuracy_forget", "accuracy_retain", "accuracy_test"]
MEASURES = (
    *("ues", "forgetting", "stability", *ACCURACIES),
    *("tar_forget", "membership_recall", "membership_recall_oracle", "seconds", "seconds_oracle"),
    *("tow", "ues_fresh", *(f"{name}_before" for name in ACCURACIES)),
)  # of the comparison, in this order; what else is known comes after
REFERENCES = ("oracle", "teacher")  # of every request
AGAIN = "oracle_again"  # how far two oracles are apart
UNTUNED = (*REFERENCES, AGAIN)
OF_ORACLE = ["membership_recall", "membership_auc", "seconds"]


def read_rows(folder: str | Path, name: str) -> pd.DataFrame:
    """The rows of a table so far; none where it is not begun.

    Raises ValueError naming the file and line where the CSV file is not such a table.
    """
    path = Path(folder) / f"{name}.csv"
    return to_frame(read_csv(path, SCHEMAS[name]) if path.is_file() else [], SCHEMAS[name])


def table(folder: Path, name: str) -> Table:
    """A table to add rows to."""

    def arranged(rows: pd.DataFrame) -> pd.DataFrame:
        rows = rows.sort_values(KEYS[name], kind="stable", ignore_index=True)
        return _with_derived(rows) if name == "comparison" else rows

    def replaces(new: Row, old: Row) -> bool:
        """A trial of another search goes with its finals."""
        same = all(new[part] == old[part] for part in TRIAL)
        return same and new["setting"] != old["setting"]

    if name == "tuning":
        return Table(folder / f"{name}.csv", SCHEMAS[name], arrange=arranged, replaces=replaces)
    return Table(folder / f"{name}.csv", SCHEMAS[name], arrange=arranged)


def _with_derived(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the comparison with what follows from their request's oracle, measures first.

    Its recall, attack and seconds, and `tow`, the tug-of-war with its accuracies.
    """
    derived = ["tow", *(f"{name}_oracle" for name in OF_ORACLE)]
    table = table.drop(columns=derived, errors="ignore")
    oracle = table[table.method == "oracle"][[*REQUEST, *OF_ORACLE, *ACCURACIES]]
    whole = table.merge(oracle, on=REQUEST, how="left", suffixes=("", "_oracle"))
    aims = [f"{name}_oracle" for name in ACCURACIES]
    both = zip(whole[ACCURACIES].to_numpy(), whole[aims].to_numpy(), strict=True)
    whole["tow"] = [np.nan if np.isnan(aim).any() else _tow(reached, aim) for reached, aim in both]
    whole = whole.drop(columns=aims)
    first = [name for name in (*KEYS["comparison"], *MEASURES) if name in whole]
    return whole[[*first, *(name for name in whole if name not in first)]]


def _tow(reached: np.ndarray, aim: np.ndarray) -> float:
    """The tug-of-war of accuracies, in the order of `ACCURACIES`, with the oracle's."""
    ours, ideal = (dict(zip(ACCURACIES, values, strict=True)) for values in (reached, aim))
    return round(tug_of_war(ours, ideal, ACCURACIES), 5)


def rounded(row: Row) -> Row:
    """To five significant digits: a rate can be as small as 1e-6."""
    return {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in row.items()}
