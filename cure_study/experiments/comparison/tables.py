"""What the rows of the comparison say: means, paired differences, ranks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cure_core.metrics.intervals import Interval, difference_interval, share_interval
from cure_core.metrics.membership import MARK, MEANINGFUL_AUC, detectable
from cure_study.experiments.comparison.methods import OURS, kind

UNKNOWN = Interval(np.nan, np.nan, np.nan)
MEANS = ["forgetting", "stability", "accuracy_fresh", "rank1_new_gallery", "membership_auc", "tow"]


def complete(rows: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """The rows of the requests and seeds on which every one of `methods` has been run.

    Means over different seeds would not be comparable. A method that has not been run on a data set
    at all does not count there.
    """
    rows = rows[rows.method.isin(methods)]
    ran = rows.groupby(["dataset", "request", "seed"]).method.transform("nunique")
    return rows[ran == rows.groupby("dataset").method.transform("nunique")]


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per data set, request and method, highest UES first.

    `ues`, `recall` (of the membership attack), `gap` (|recall - the oracle's|) and `fresh` (UES by
    new images of the forgotten people) are means with 95 % intervals over seeds
    (`share_interval`) in `_low` and `_high`, NaN if a seed has no value; a seed draws who is
    forgotten again, out of the same people. `rank` is the mean rank by UES, 1 the best. The columns
    of `MEANS` are means. `meaningful`: whether the membership attack works at all on the method and
    on the oracle (mean AUCs of at least `MEANINGFUL_AUC`), without which the two recalls mean
    nothing; `detectable`: whether it does and the recall is far below the oracle's. Bounds are NaN
    for one seed and for seeds with equal values.
    """
    lines = []
    rows = rows.assign(ues_fresh=rows.get("ues_fresh", np.nan))
    for (dataset, request), case in rows.groupby(["dataset", "request"], sort=False):
        ues = case.pivot(index="seed", columns="method", values="ues")
        competing = [m for m in ues if kind(str(m)) in ("ours", "peer")]
        ranks = ues[competing].rank(axis=1, ascending=False).mean()
        for method, seeds in case.groupby("method", sort=False):
            measures = {
                "ues": seeds.ues,
                "recall": seeds.membership_recall,
                "gap": (seeds.membership_recall - seeds.membership_recall_oracle).abs(),
                "fresh": seeds.ues_fresh,
            }
            intervals: dict[str, float] = {}
            for name, values in measures.items():
                interval = UNKNOWN if values.isna().any() else share_interval(values)
                intervals |= _columns(name, interval)
            means = seeds.reindex(columns=MEANS).mean()
            aucs = means.membership_auc, seeds.membership_auc_oracle.mean()
            meaningful = all(auc >= MEANINGFUL_AUC for auc in aucs)
            recalls = seeds.membership_recall.mean(), seeds.membership_recall_oracle.mean()
            lines.append(
                {
                    "dataset": dataset, "request": request, "method": method,
                    "kind": kind(str(method)), "seeds": len(seeds), **intervals, **means,
                    "rank": ranks.get(method, np.nan), "meaningful": meaningful,
                    "detectable": meaningful and detectable(*recalls),
                }
            )  # fmt: skip
    order = ["dataset", "request", "ues"]
    return pd.DataFrame(lines).sort_values(order, ascending=False, ignore_index=True)


def differences(rows: pd.DataFrame, score: str = "ues") -> pd.DataFrame:
    """A score of each of `OURS` minus every other method's, paired by request and seed.

    `score` is a column of the rows. One row per data set, request, `method` of ours and `other`:
    `difference` with its 95 % interval (`difference_interval`) in `_low` and `_high`, over the
    `seeds` that have both. Bounds are NaN for one seed.
    """
    lines: list[dict[str, object]] = []
    rows = rows.assign(**{score: rows.get(score, np.nan)})
    for (dataset, request), case in rows.groupby(["dataset", "request"], sort=False):
        wide = case.pivot(index="seed", columns="method", values=score)
        for method in (m for m in OURS if m in wide):
            for other in wide.columns.drop(method):
                paired = (wide[method] - wide[other]).dropna()
                if len(paired):
                    interval = difference_interval(paired, score)
                    lines.append(
                        {
                            "dataset": dataset, "request": request, "method": method,
                            "other": other, "seeds": len(paired),
                            **_columns("difference", interval),
                        }
                    )  # fmt: skip
    columns = ["dataset", "request", "method", "other", "seeds", *_columns("difference", UNKNOWN)]
    return pd.DataFrame(lines, columns=columns)


def shrinkage(chosen: pd.DataFrame, table: pd.DataFrame, request: str) -> pd.DataFrame:
    """The UES of the winning settings on the `validation` seeds and on the `reported` ones.

    `chosen` are `winners`, `table` a `summary`, `request` the kind used for tuning. `difference` is
    by how much the second is lower: the best of many trials on few requests was also lucky.
    """
    keys = ["dataset", "method"]
    reported = table[table.request == request].set_index(keys).ues.rename("reported")
    both = chosen.set_index(keys).ues.rename("validation").to_frame().join(reported, how="inner")
    return both.assign(difference=both.validation - both.reported).reset_index()


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """A summary as text, value and interval in one cell.

    A recall is marked if the attack is at chance (?) and if it is detectable (†), which the header
    of its column explains.
    """
    marks = np.select([~table.meaningful, table.detectable], [" ?", MARK], "")
    legend = {" ?": "?: attack at chance", MARK: "†: detectable, far below the oracle's"}
    meanings = "; ".join(meaning for mark, meaning in legend.items() if mark in marks)
    columns = {
        "method": table.method,
        "UES (CURE)": _cells(table, "ues"),
        "F": _numbers(table.forgetting, 3),
        "S": _numbers(table.stability, 3),
        "rank": _numbers(table["rank"], 1),
        "UES, new images": _cells(table, "fresh"),
        "rank one, re-enrolled": _numbers(table.rank1_new_gallery, 2),
        "ToW": _numbers(table.tow, 2),
        "membership AUC": _numbers(table.membership_auc, 2),
        "membership recall" + f" ({meanings})" * bool(meanings): [
            text + mark for text, mark in zip(_cells(table, "recall"), marks, strict=True)
        ],
        "from the oracle's": _cells(table, "gap"),
        "seeds": table.seeds,
    }
    return pd.DataFrame(columns)


def difference_matrix(table: pd.DataFrame) -> pd.DataFrame:
    """`differences` of one request as text: a row per other method, a column per one of ours."""
    cells = table.assign(cell=_cells(table, "difference"))
    wide = cells.pivot(index="other", columns="method", values="cell").fillna("")
    return wide.add_suffix(" minus it").rename_axis(index=None, columns=None)


def _cells(table: pd.DataFrame, name: str) -> list[str]:
    return [cell(row, name) for row in table.to_dict("records")]


def cell(row: Mapping[Any, Any], name: str) -> str:
    """A value of a summary's row with its interval, as text; empty for NaN."""
    return Interval(*(row[column] for column in _columns(name, UNKNOWN))).text()


def _numbers(values: pd.Series, decimals: int) -> list[str]:
    return ["" if np.isnan(value) else f"{value:.{decimals}f}" for value in values]


def _columns(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
