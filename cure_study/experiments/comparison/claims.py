"""Whether the claims of rank hold: by the criterion set beforehand, and the paper's claims."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from cure_study.data.requests import PEOPLE_REQUESTS
from cure_study.experiments.comparison.tables import cell

Line = dict[Any, Any]  # a row of a summary
CLAIMS = {
    "ues": (
        "highest UES of the label-free methods",
        "0.229",
        "a cluster sent to one target stays together; separating its images forgets more",
    ),
    "fresh": (
        "the same on new images of the forgotten",
        "not reported",
        "some is memorised: new images keep a part of the score, depending on the method",
    ),
    "recall": (
        "lowest membership recall",
        "0.0132",
        "over-forgetting achieves it: below the oracle's, lower is not better",
    ),
}  # by measure: the claim, the paper's number, and why the study finds what it finds


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """For each data set and request of people: is CURE's interval above that of every peer?

    Columns: method (one of `OURS`) with its interval, `peer` (the one whose interval reaches
    highest) with its interval, `decided` (whether both have an interval, which needs two seeds),
    `above` (False if not decided); `gap` of the method's membership recall from the oracle's,
    `closest` (the peer with the smallest) with its gap, `closer` (whether no peer's is smaller).
    Recalls count only if `meaningful`: without it a method is not `closer`.
    """
    lines = []
    for method, peers in _pairings(table):
        peer = peers.iloc[_argmax(peers.ues_high.fillna(peers.ues))]
        meaningful = _meaningful(peers)
        closest = meaningful.iloc[_argmax(-meaningful.gap)]
        lines.append(
            {
                **{name: method[name] for name in ("dataset", "request", "method")},
                **{name: method[name] for name in ("ues", "ues_low", "ues_high")},
                "peer": peer.method, "peer_ues": peer.ues,
                "peer_low": peer.ues_low, "peer_high": peer.ues_high,
                "decided": not np.isnan([method["ues_low"], peer.ues_low]).any(),
                "above": bool(method["ues_low"] > peer.ues_high),
                "gap": method["gap"], "closest": closest.method, "closest_gap": closest.gap,
                "meaningful": method["meaningful"],
                "closer": method["meaningful"] and bool(method["gap"] <= closest.gap),
            }
        )  # fmt: skip
    return pd.DataFrame(lines)


def against_paper(table: pd.DataFrame) -> pd.DataFrame:
    """The paper's two claims of rank on each request of people, in words, and one of ours.

    Its numbers come from other data and a formula that is not public: they are quoted, and only
    the ranks are compared. Recalls count as in `verdicts`.
    """
    lines = []
    for method, peers in _pairings(table):
        meaningful = _meaningful(peers)
        best = {
            "ues": peers.iloc[_argmax(peers.ues)],
            "fresh": peers.iloc[_argmax(peers.fresh)],
            "recall": meaningful.iloc[_argmax(-meaningful.recall)],
        }
        for name, (claim, quoted, why) in CLAIMS.items():
            peer = best[name].to_dict()
            if np.isnan([method[name], peer[name]]).any():
                continue
            lines.append(
                {
                    **{key: method[key] for key in ("dataset", "request", "method")},
                    "claim": claim, "paper": quoted, "ours": cell(method, name),
                    "best peer": f"{peer['method']} {cell(peer, name)}",
                    "verdict": _verdict(method, peer, name), "why": why,
                }
            )  # fmt: skip
    return pd.DataFrame(lines)


def _pairings(table: pd.DataFrame) -> Iterator[tuple[Line, pd.DataFrame]]:
    """On each data set and request of people, each of our methods and all its peers."""
    people = table[table.request.isin(PEOPLE_REQUESTS)]
    for _, case in people.groupby(["dataset", "request"], sort=False):
        peers = case[case.kind == "peer"]
        if not peers.empty:
            for method in case[case.kind == "ours"].to_dict("records"):
                yield method, peers


def _argmax(values: pd.Series) -> int:
    """The position of the largest value; NaN counts as smallest."""
    return int(values.fillna(-np.inf).argmax())


def _meaningful(peers: pd.DataFrame) -> pd.DataFrame:
    """The peers on which the membership attack works; all of them if it works on none."""
    return peers[peers.meaningful] if peers.meaningful.any() else peers


def _verdict(method: Line, peer: Line, name: str) -> str:
    """Whether the claim about a measure holds by the means, and whether the intervals decide it."""
    if name == "recall" and not method["meaningful"]:
        return "undecided: the attack is at chance"
    better, worse = (peer, method) if name == "recall" else (method, peer)
    verdict = "holds" if better[name] > worse[name] else "does not hold"
    if name == "recall" and method["detectable"]:
        verdict += " (detectable: lower is not better)"
    bounds = [(line[f"{name}_low"], line[f"{name}_high"]) for line in (method, peer)]
    if np.isnan(bounds).any():
        one_seed = min(method["seeds"], peer["seeds"]) == 1
        reason = "one seed, no interval" if one_seed else "seeds all the same, no interval"
        return f"{verdict} by the mean, undecided: {reason}"
    (low, high), (peer_low, peer_high) = bounds
    return verdict if low > peer_high or high < peer_low else f"{verdict}, intervals overlap"
