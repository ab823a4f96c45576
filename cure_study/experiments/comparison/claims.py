"""Whether the claims of rank hold: the test that was set beforehand, and the paper's own."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from cure_study.experiments.comparison.tables import cell
from cure_study.experiments.study import OF_PEOPLE

CLAIMS = {
    "ues": (
        "highest UES of the label-free methods",
        "0.229",
        "a cluster sent to one target stays together; to part its pictures forgets more",
    ),
    "fresh": (
        "the same on new pictures of the forgotten",
        "not told",
        "some is learnt by heart: new pictures keep a part of the score, by method",
    ),
    "recall": (
        "lowest membership recall",
        "0.0132",
        "it can be had by over-forgetting: below the oracle's, lower is not better",
    ),
}  # by measure: the claim, the paper's number, and why it comes out as it does in the study


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """For each data set and request of people: does CURE's interval lie above every peer's?

    Columns: method (one of `OURS`), its interval, `rival` (the peer whose interval reaches
    highest) with its own, `decided` (whether both have an interval, which one seed does not give),
    `above` (False if not decided); `gap` of its membership recall from the oracle's, `nearest` (the
    peer of the smallest) with its own, `nearer` (no further than that). Recalls count only where
    `told`: without it a method is not `nearer`.
    """
    lines = []
    people = table[table.request.isin(OF_PEOPLE)]
    for (dataset, request), case in people.groupby(["dataset", "request"], sort=False):
        peers = case[case.kind == "peer"]
        if peers.empty:
            continue
        reach = peers.ues_high.fillna(peers.ues)
        told = _told_apart(peers)
        nearest = told.iloc[int(told.gap.fillna(np.inf).argmin())]
        rival = peers.iloc[int(reach.fillna(-np.inf).argmax())]
        for own in case[case.kind == "ours"].to_dict("records"):
            lines.append(
                {
                    "dataset": dataset, "request": request, "method": own["method"],
                    "ues": own["ues"], "ues_low": own["ues_low"], "ues_high": own["ues_high"],
                    "rival": rival.method, "rival_ues": rival.ues,
                    "rival_low": rival.ues_low, "rival_high": rival.ues_high,
                    "decided": not np.isnan([own["ues_low"], rival.ues_low]).any(),
                    "above": bool(own["ues_low"] > rival.ues_high),
                    "gap": own["gap"], "nearest": nearest.method, "nearest_gap": nearest.gap,
                    "told": own["told"],
                    "nearer": own["told"] and bool(own["gap"] <= nearest.gap),
                }
            )  # fmt: skip
    return pd.DataFrame(lines)


def against_paper(table: pd.DataFrame) -> pd.DataFrame:
    """The paper's two claims of rank on each request of people, in words, and one of ours.

    Its numbers come from other data and a formula that is not public: they are quoted, and only
    the ranks are compared. Recalls count as in `verdicts`.
    """
    lines = []
    for (dataset, request), case in table[table.request.isin(OF_PEOPLE)].groupby(
        ["dataset", "request"], sort=False
    ):
        peers = case[case.kind == "peer"]
        if peers.empty:
            continue
        for own in case[case.kind == "ours"].to_dict("records"):
            told = _told_apart(peers)
            rivals = {
                "ues": peers.iloc[int(peers.ues.fillna(-1).argmax())],
                "fresh": peers.iloc[int(peers.fresh.fillna(-1).argmax())],
                "recall": told.iloc[int(told.recall.fillna(2).argmin())],
            }
            for name, (claim, quoted, why) in CLAIMS.items():
                rival = rivals[name]
                if np.isnan([own[name], rival[name]]).any():
                    continue
                verdict = _verdict(own, rival.to_dict(), name)
                lines.append(
                    {
                        "dataset": dataset, "request": request, "method": own["method"],
                        "claim": claim, "paper": quoted, "ours": cell(own, name),
                        "best peer": f"{rival.method} {cell(rival.to_dict(), name)}",
                        "verdict": verdict, "why": why,
                    }
                )  # fmt: skip
    return pd.DataFrame(lines)


def _verdict(own: Mapping[Any, Any], rival: Mapping[Any, Any], name: str) -> str:
    """Whether the claim of a measure holds by the means, and whether the intervals decide it."""
    if name == "recall" and not own["told"]:
        return "not told: the attack is at chance"
    better, worse = (rival, own) if name == "recall" else (own, rival)
    verdict = "holds" if better[name] > worse[name] else "does not hold"
    if name == "recall" and own["detectable"]:
        verdict += " (detectable: lower is not better)"
    bounds = [(line[f"{name}_low"], line[f"{name}_high"]) for line in (own, rival)]
    if np.isnan(bounds).any():
        few = min(own["seeds"], rival["seeds"]) == 1
        reason = "one seed, no interval" if few else "seeds all the same, no interval"
        return f"{verdict} by the mean, undecided: {reason}"
    (low, high), (other_low, other_high) = bounds
    return verdict if low > other_high or high < other_low else f"{verdict}, intervals overlap"


def _told_apart(peers: pd.DataFrame) -> pd.DataFrame:
    """The peers on whom the membership attack works; all of them where it works on none."""
    return peers[peers.told] if peers.told.any() else peers
