"""The tables of the comparison, which grow a row at a time and can be shared by processes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from cure_core import rows
from cure_core.metrics.oracle_gap import tug_of_war
from cure_core.metrics.ues import unlearning_efficiency_score
from cure_core.report import save_table
from cure_core.study import OF_PEOPLE

Row = dict[str, Any]
KEYS = {
    "tuning": ["dataset", "method", "trial", "seed"],
    "comparison": ["dataset", "request", "seed", "method"],
    "frontier": ["dataset", "method", "factor", "seed"],
}  # the tables, one a stage
TRIAL = KEYS["tuning"][:3]
REQUEST = KEYS["comparison"][:3]
ACCURACIES = ["accuracy_forget", "accuracy_retain", "accuracy_test"]
MEASURES = (
    *("ues", "forgetting", "stability", *ACCURACIES),
    *("tar_forget", "membership_recall", "membership_recall_oracle", "seconds", "seconds_oracle"),
    *("tow", "ues_fresh"),
)  # of the comparison, in this order; what else is known comes after
OF_ORACLE = ["membership_recall", "seconds"]


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
    """Rows of the comparison with what follows from other rows of their request, measures first.

    From the oracle's: its recall and seconds, and `tow`, the tug-of-war with its accuracies. From
    the teacher's: `ues_fresh`.
    """
    derived = ["tow", "ues_fresh", *(f"{name}_oracle" for name in OF_ORACLE)]
    table = table.drop(columns=derived, errors="ignore")
    oracle = table[table.method == "oracle"][[*REQUEST, *OF_ORACLE]]
    whole = table.merge(oracle, on=REQUEST, how="left", suffixes=("", "_oracle"))
    whole["tow"] = _beside(table, "oracle", lambda row, aim: tug_of_war(row, aim, ACCURACIES))
    whole["ues_fresh"] = _beside(table, "teacher", _ues_fresh)
    first = [*KEYS["comparison"], *MEASURES]
    return whole[[*first, *(name for name in table if name not in first)]]


def _beside(
    table: pd.DataFrame, reference: str, measure: Callable[[Row, Row], float]
) -> list[float]:
    """A measure of each row and the reference's on its request; NaN where that is not there."""

    def request(row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in REQUEST)

    rows: list[Row] = table.to_dict("records")  # type: ignore[assignment]
    known = {request(row): row for row in rows if row["method"] == reference}
    return [
        round(measure(row, known[request(row)]), 5) if request(row) in known else np.nan
        for row in rows
    ]


def _ues_fresh(row: Row, teacher: Row) -> float:
    """UES whose F is of new pictures of the forgotten.

    NaN where there are none, where no whole people go, and where the teacher is at chance on them.
    """
    before, after = (
        {
            "forget": known.get("accuracy_fresh", np.nan),
            "retain": known["accuracy_retain"],
            "test": known["accuracy_test"],
        }
        for known in (teacher, row)
    )
    judged = before["forget"] > 0.5 and after["forget"] >= 0  # neither is true of NaN
    if row["request"] not in OF_PEOPLE or not judged:
        return np.nan
    return unlearning_efficiency_score(before, after).score


def _rounded(row: Row) -> Row:
    return {k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}
