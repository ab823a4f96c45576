"""What the rows of the comparison say: means, paired differences, ranks, claims."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cure_core.metrics.intervals import Interval, mean_interval

OURS = ("cure", "cure_plus")
PEOPLE = ("random_people", "hardest_people")  # the requests for which erasure is the goal


def kind(method: str) -> str:
    """What a name of the table is: "ours", "reference", "ablation" or "peer"."""
    if method in OURS:
        return "ours"
    if method in ("teacher", "oracle") or method.startswith("supervised_"):
        return "reference"
    return "ablation" if method.startswith("cure_") else "peer"


def complete(rows: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """The rows of those requests and seeds that every one of `methods` has been run on.

    Means over different seeds would not be comparable.
    """
    own = rows[rows.method.isin(methods)]
    ran = own.groupby(["dataset", "request", "seed"]).method.transform("nunique")
    return own[ran == len(set(methods))]


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """A line for each data set, request and method, best UES first.

    `ues`, `recall` (of the membership attack) and `gap` (|recall - the oracle's|) are means with
    95 % intervals over seeds (Student's t) in `_low` and `_high`; so is `less`, the UES of
    `cure_plus` less the method's on the same request and seed. `rank` is the mean rank by UES,
    1 the best. NaN bounds: one seed.
    """
    lines = []
    for (dataset, request), case in rows.groupby(["dataset", "request"], sort=False):
        ues = case.pivot(index="seed", columns="method", values="ues")
        competing = [m for m in ues if kind(str(m)) in ("ours", "peer")]
        ranks = ues[competing].rank(axis=1, ascending=False).mean()
        for method, own in case.groupby("method", sort=False):
            gap = (own.membership_recall - own.membership_recall_oracle).abs()
            measured = {"ues": own.ues, "recall": own.membership_recall, "gap": gap}
            if "cure_plus" in ues:
                measured["less"] = (ues["cure_plus"] - ues[method]).dropna()
            found: dict[str, object] = {}
            for name, values in measured.items():
                found |= _named(name, mean_interval(values))
            known = own[["forgetting", "stability", "membership_auc"]].mean()
            lines.append(
                {
                    "dataset": dataset, "request": request, "method": method,
                    "kind": kind(str(method)), "seeds": len(own), **found, **known,
                    "rank": ranks.get(method, np.nan),
                }
            )  # fmt: skip
    order = ["dataset", "request", "ues"]
    table = pd.DataFrame(lines)
    return table.sort_values(order, ascending=[False, False, False], ignore_index=True)


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """For each data set and request of people: does CURE's interval lie above every peer's?

    Columns: method (cure or cure_plus), its interval, `rival` (the peer whose interval reaches
    highest) with its own, `above`; `gap` of its membership recall from the oracle's, `nearest` (the
    peer of the smallest) with its own, `nearer` (no further than that).
    """
    lines = []
    people = table[table.request.isin(PEOPLE)]
    for (dataset, request), case in people.groupby(["dataset", "request"], sort=False):
        peers = case[case.kind == "peer"]
        if peers.empty:
            continue
        reach = peers.ues_high.fillna(peers.ues)
        rival, nearest = peers.iloc[int(reach.argmax())], peers.iloc[int(peers.gap.argmin())]
        for own in case[case.kind == "ours"].to_dict("records"):
            lines.append(
                {
                    "dataset": dataset, "request": request, "method": own["method"],
                    "ues": own["ues"], "ues_low": own["ues_low"], "ues_high": own["ues_high"],
                    "rival": rival.method, "rival_ues": rival.ues,
                    "rival_low": rival.ues_low, "rival_high": rival.ues_high,
                    "above": bool(own["ues_low"] > rival.ues_high),
                    "gap": own["gap"], "nearest": nearest.method, "nearest_gap": nearest.gap,
                    "nearer": bool(own["gap"] <= nearest.gap),
                }
            )  # fmt: skip
    return pd.DataFrame(lines)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """A summary as text: value and interval in one cell."""
    columns = {
        "method": table.method,
        "UES (CURE)": _cells(table, "ues"),
        "F": table.forgetting.map("{:.3f}".format),
        "S": table.stability.map("{:.3f}".format),
        "cure_plus less it": _cells(table, "less"),
        "rank": table["rank"].map(lambda x: "" if np.isnan(x) else f"{x:.1f}"),
        "membership recall": _cells(table, "recall"),
        "from the oracle's": _cells(table, "gap"),
        "seeds": table.seeds,
    }
    return pd.DataFrame(columns)


def _cells(table: pd.DataFrame, name: str) -> list[str]:
    rows = zip(table[name], table[f"{name}_low"], table[f"{name}_high"], strict=True)
    return [
        f"{value:.3f}" if np.isnan(low) else f"{value:.3f} [{low:.3f}, {high:.3f}]"
        for value, low, high in rows
    ]


def _named(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
