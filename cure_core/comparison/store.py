"""The tables of the comparison, which grow a row at a time and can be shared by processes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from cure_core import rows
from cure_core.metrics.oracle_gap import tug_of_war
from cure_core.report import save_table

Row = dict[str, Any]
KEYS = {
    "tuning": ["dataset", "method", "trial", "seed"],
    "comparison": ["dataset", "request", "seed", "method"],
    "frontier": ["dataset", "method", "factor", "seed"],
    "attacks": ["dataset", "seed", "method"],
}  # the tables, one a stage
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


def read_rows(folder: Path, name: str) -> pd.DataFrame:
    """The rows of a table so far; none where it is not begun."""
    table = rows.read_rows(folder / f"{name}.csv")
    return table if len(table) else pd.DataFrame(columns=KEYS[name])


def has_row(folder: Path, name: str, key: Row) -> bool:
    """Whether a table has a row of these values."""
    return rows.has_row(read_rows(folder, name), key)


def write_row(folder: Path, name: str, key: Row, row: Row) -> None:
    """Write a row, in the place of an earlier one of the same key."""
    path = folder / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        table = read_rows(folder, name)
        stale = rows.select(table, key).index
        if name == "tuning" and len(table):  # a trial of another search goes with its finals
            trial = rows.select(table, {part: key[part] for part in TRIAL})
            stale = stale.union(trial[trial.setting != row["setting"]].index)
        table = table.drop(stale)
        table = pd.concat([table, pd.DataFrame([{**key, **_rounded(row)}])], ignore_index=True)
        table = table.sort_values(KEYS[name], kind="stable")
        save_table(_with_derived(table) if name == "comparison" else table, path)


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


def _rounded(row: Row) -> Row:
    """To five significant digits: a rate can be as small as 1e-6."""
    return {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in row.items()}
