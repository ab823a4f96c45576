"""What the rows of the comparison say: means, paired differences, ranks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cure_core.metrics.intervals import Interval, difference_interval, share_interval
from cure_core.metrics.membership import MARK, MEANINGFUL_AUC, detectable
from cure_core.objectives import METHODS
from cure_study.experiments.comparison.plan import Plan
from cure_study.experiments.comparison.store import UNTUNED
from cure_study.experiments.comparison.tuning import finalists, trials_on, winner

OURS = ("cure", "cure_plus", "cure_scatter")
UNKNOWN = Interval(np.nan, np.nan, np.nan)
MEANS = ["forgetting", "stability", "accuracy_fresh", "rank1_new_gallery", "membership_auc", "tow"]


def kind(method: str) -> str:
    """What a name of the table is: "ours", "reference", "ablation" or "peer"."""
    if method in OURS:
        return "ours"
    if method in UNTUNED or method.startswith("supervised_"):
        return "reference"
    return "peer" if method in METHODS else "ablation"


def complete(rows: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """The rows of those requests and seeds that every one of `methods` has been run on.

    Means over different seeds would not be comparable. A method that has not been run on a data set
    at all is left out there.
    """
    own = rows[rows.method.isin(methods)]
    ran = own.groupby(["dataset", "request", "seed"]).method.transform("nunique")
    return own[ran == own.groupby("dataset").method.transform("nunique")]


def planned_trials(trials: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The rows of the tuning that the plan asks for.

    A longer search may be on its way, and a shorter one may have left finals of its own.
    """
    kept = []
    for (dataset, _), own in trials.groupby(["dataset", "method"], sort=False):
        arena = plan.data[str(dataset)]
        v = arena.validation
        first = own[own.seed.isin(v.seeds) & (own.trial < arena.trials)]
        last = own[own.seed.isin(v.finals) & own.trial.isin(list(finalists(own, arena)))]
        kept += [first, last]
    return pd.concat(kept) if kept else trials


def winners(trials: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The settings that won, a line a data set and method that is tuned.

    `trials` are rows of the tuning. `trial` and `settings` are the winner's; `ues`, `forgetting`,
    `stability` its means over all validation seeds; `defaults` the UES of the first trial on the
    seeds that every trial has; `at_bound` which of its settings lie at an end of their range, where
    the search may have missed something beyond.
    """
    lines: list[dict[str, object]] = []
    for (dataset, method), own in trials.groupby(["dataset", "method"], sort=False):
        arena = plan.data[str(dataset)]
        if (won := winner(own, arena)) is not None:
            v, (trial, settings) = arena.validation, won
            rows = own[(own.trial == trial) & own.seed.isin([*v.seeds, *v.finals])]
            search = plan.tuned[str(method)].search if method in plan.tuned else {}
            ends = {name: (low, high) for name, (low, _, high) in search.items()}
            at_bound = [k for k, value in settings.items() if value in ends.get(k, ())]
            lines.append(
                {
                    "dataset": dataset, "method": method, "trial": trial,
                    "defaults": trials_on(own, v.seeds)[0][1],
                    **rows[["ues", "forgetting", "stability"]].mean(), "settings": settings,
                    "at_bound": ", ".join(at_bound),
                }
            )  # fmt: skip
    return pd.DataFrame(lines)


def stale(rows: pd.DataFrame, trials: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The rows, of comparison or attacks, whose settings are not those that won the tuning by now.

    Means over them mix settings; `compare` runs them again. Those of teacher and oracles, which
    have none, never are.
    """
    won = {
        (line["dataset"], line["method"]): line["settings"]
        for line in winners(trials, plan).to_dict("records")
    }

    def is_stale(row: Mapping[Any, Any]) -> bool:
        where, what = plan.tuned_on(row["dataset"]), plan.objective(row["method"])
        settings = won.get((where, what))
        return settings is None or row["settings"] != plan.written(row["method"], settings)

    tried = rows[~rows.method.isin(UNTUNED)]
    return tried[[is_stale(row) for row in tried.to_dict("records")]]


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """A line for each data set, request and method, best UES first.

    `ues`, `recall` (of the membership attack), `gap` (|recall - the oracle's|) and `fresh`, UES
    whose F is of new pictures of the forgotten, are means with 95 % intervals over seeds
    (`share_interval`) in `_low` and `_high`, NaN where a seed has none; a seed draws again who is
    forgotten, out of the same people. `rank` is the mean rank by UES, 1 the best. The columns of
    `MEANS` are means; `told` is whether the membership attack tells members apart by the method and
    by the oracle at all (mean AUCs of at least `MEANINGFUL_AUC`), without which the two recalls say
    nothing; `detectable` is whether it does and the recall is far below the oracle's. NaN bounds:
    one seed, or seeds that are all the same.
    """
    lines = []
    for (dataset, request), case in rows.groupby(["dataset", "request"], sort=False):
        case = case.assign(ues_fresh=case.get("ues_fresh", np.nan))
        ues = case.pivot(index="seed", columns="method", values="ues")
        competing = [m for m in ues if kind(str(m)) in ("ours", "peer")]
        ranks = ues[competing].rank(axis=1, ascending=False).mean()
        for method, own in case.groupby("method", sort=False):
            gap = (own.membership_recall - own.membership_recall_oracle).abs()
            measured = {
                "ues": own.ues, "recall": own.membership_recall, "gap": gap, "fresh": own.ues_fresh,
            }  # fmt: skip
            found: dict[str, object] = {}
            for name, values in measured.items():
                # pictures of few people hold no fresh pairs
                found |= _named(name, UNKNOWN if values.isna().any() else share_interval(values))
            known = own.reindex(columns=MEANS).mean()
            told = bool(
                known.membership_auc >= MEANINGFUL_AUC
                and own.membership_auc_oracle.mean() >= MEANINGFUL_AUC
            )
            recalls = own.membership_recall.mean(), own.membership_recall_oracle.mean()
            lines.append(
                {
                    "dataset": dataset, "request": request, "method": method,
                    "kind": kind(str(method)), "seeds": len(own), **found, **known,
                    "rank": ranks.get(method, np.nan), "told": told,
                    "detectable": told and detectable(*recalls),
                }
            )  # fmt: skip
    order = ["dataset", "request", "ues"]
    table = pd.DataFrame(lines)
    return table.sort_values(order, ascending=[False, False, False], ignore_index=True)


def differences(rows: pd.DataFrame, score: str = "ues") -> pd.DataFrame:
    """A score of each of `OURS` less every other method's, paired by request and seed.

    `score` is a column of the rows. A line a data set, request, `method` of ours and `other`:
    `less` with its 95 % interval (`difference_interval`) in `less_low` and `less_high`, over the
    `seeds` that have both. NaN bounds: one seed.
    """
    lines: list[dict[str, object]] = []
    rows = rows.assign(**{score: rows.get(score, np.nan)})
    for (dataset, request), case in rows.groupby(["dataset", "request"], sort=False):
        wide = case.pivot(index="seed", columns="method", values=score)
        for method in (m for m in OURS if m in wide):
            for other in wide.columns.drop(method):
                less = (wide[method] - wide[other]).dropna()
                if len(less):
                    lines.append(
                        {
                            "dataset": dataset, "request": request, "method": method,
                            "other": other, "seeds": len(less),
                            **_named("less", difference_interval(less, score)),
                        }
                    )  # fmt: skip
    columns = ["dataset", "request", "method", "other", "seeds", "less", "less_low", "less_high"]
    return pd.DataFrame(lines, columns=columns)


def shrinkage(chosen: pd.DataFrame, table: pd.DataFrame, request: str) -> pd.DataFrame:
    """The UES that settings won with, on `validation`, beside what they have on `reported` seeds.

    `chosen` are `winners`, `table` a `summary`, `request` the kind that all were tuned on. `less`
    is by how much the second falls short: the best of many trials on few requests was also lucky.
    """
    of = ["dataset", "method"]
    reported = table[table.request == request].set_index(of).ues.rename("reported")
    both = chosen.set_index(of).ues.rename("validation").to_frame().join(reported, how="inner")
    return both.assign(less=both.validation - both.reported).reset_index()


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """A summary as text: value and interval in one cell.

    A recall is marked where the attack is at chance (?) and where it is detectable (†), which the
    head of its column explains.
    """
    marks = np.select([~table.told, table.detectable], [" ?", MARK], "")
    known = {" ?": "?: attack at chance", MARK: "†: detectable, far below the oracle's"}
    meanings = "; ".join(meaning for mark, meaning in known.items() if mark in marks)
    columns = {
        "method": table.method,
        "UES (CURE)": _cells(table, "ues"),
        "F": _numbers(table.forgetting, 3),
        "S": _numbers(table.stability, 3),
        "rank": _numbers(table["rank"], 1),
        "UES, new pictures": _cells(table, "fresh"),
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


def matrix(found: pd.DataFrame) -> pd.DataFrame:
    """`differences` of one request as text: a line each other method, a column each of ours."""
    cells = found.assign(cell=_cells(found, "less"))
    wide = cells.pivot(index="other", columns="method", values="cell").fillna("")
    return wide.add_suffix(" less it").rename_axis(index=None, columns=None)


def _cells(table: pd.DataFrame, name: str) -> list[str]:
    return [cell(row, name) for row in table.to_dict("records")]


def cell(row: Mapping[Any, Any], name: str) -> str:
    """A value of a summary's line with its interval, as text; nothing where it is NaN."""
    return Interval(*(row[f"{name}{end}"] for end in ("", "_low", "_high"))).text()


def _numbers(values: pd.Series, decimals: int) -> list[str]:
    return ["" if np.isnan(value) else f"{value:.{decimals}f}" for value in values]


def _named(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
