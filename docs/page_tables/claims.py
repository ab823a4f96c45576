"""The tables of docs/claims.md: the paper's claims against the rows."""

from collections.abc import Callable
from functools import partial
from itertools import product

import pandas as pd

from cure_core.metrics.membership import MEANINGFUL_AUC
from cure_study.experiments.comparison.methods import LABELS, OURS, in_order, kind
from page_tables.accuracy import accuracy_change, quality_change
from page_tables.rows import (
    DATASETS,
    REQUESTS,
    by_seed,
    change,
    comparison_rows,
    name,
    read,
    score,
)

PEOPLE = ("random_people", "hardest_people")
PAGE = "docs/claims.md"


def claims() -> pd.DataFrame:
    """The paper's claims in one line each; links are those of the repository's root."""
    found, means = clusters_found(), mean_scores()
    best = {dataset: best_peer(by_seed(dataset)) for dataset in ("synthfaces", "lfw")}
    recall, peer = means["synthfaces", "membership_recall"], lowest_recall_peer("synthfaces")
    ues = "; ".join(
        f"{DATASETS[dataset]}: CURE {means[dataset, 'ues'].cure:.2f}, "
        f"{LABELS[best[dataset]]} {means[dataset, 'ues'][best[dataset]]:.2f}"
        for dataset in best
    )
    quality = {method: quality_change(method, "lowest", 0.05).mean() for method in OURS[:2]}
    stable = {
        "lowest": quality_change("cure", "lowest", 0.05, pairs="unseen").mean(),
        "people": 100 * accuracy_change("synthfaces", "cure", "test").mean(),
    }
    lines = [
        (
            "No identity labels are needed",
            "none",
            f"{found.min():.0f} to {found.max():.0f} clusters found for 15 forgotten people",
            "Reproduced on both data sets; CURE needs about the right number of clusters",
            "no-identity-labels-are-needed",
        ),
        (
            "Highest Unlearning Efficiency Score among unsupervised methods",
            "0.229",
            ues,
            "Not reproduced at this scale: lower on SynthFaces, undecided on LFW's random people",
            "highest-unlearning-efficiency-score",
        ),
        (
            "Lowest membership recall after unlearning",
            "0.0132",
            f"SynthFaces: CURE {recall.cure:.3f}, {LABELS[peer]} {recall[peer]:.3f}, "
            f"retrained oracle {recall.oracle:.3f}",
            "Not reproduced at this scale: undecided on these random people, higher elsewhere",
            "lowest-membership-recall",
        ),
        (
            "Forgetting low-quality images raises accuracy on AgeDB",
            "not public",
            f"Lowest-quality 5 % forgotten: CURE {quality['cure']:.1f} points, "
            f"CURE+ {quality['cure_plus']:.1f}, on synthetic pairs 30 years apart",
            "Not reproduced at this scale; AgeDB itself is untested",
            "forgetting-low-quality-images-raises-accuracy",
        ),
        (
            "The model stays stable",
            "not public",
            f"CURE, unseen people: {stable['lowest']:.1f} points after the lowest-quality 5 %, "
            f"{stable['people']:.1f} after 15 people",
            "Reproduced in part: small losses for low-quality images, larger ones for people",
            "the-model-stays-stable",
        ),
    ]
    columns = ["claim", "the paper's number", "ours", "verdict", "where"]
    return pd.DataFrame(
        [(*line, f"[details]({PAGE}#{anchor})") for *line, anchor in lines], columns=columns
    )


def mean_scores() -> dict[tuple[str, str], pd.Series]:
    """Means over seeds by method on random people, by data set and score."""
    return {
        (dataset, measure): by_seed(dataset, score=measure).mean()
        for dataset in ("synthfaces", "lfw")
        for measure in ("ues", "membership_recall")
    }


def clusters_found() -> pd.Series:
    """The number of forget clusters that CURE chose, on every request of people."""
    rows = read("comparison")
    return rows.loc[(rows.method == "cure") & rows.request.isin(PEOPLE), "clusters_forget"]


def best_peer(wide: pd.DataFrame) -> str:
    """The label-free peer with the highest mean over seeds."""
    return str(wide[[method for method in wide if kind(str(method)) == "peer"]].mean().idxmax())


def lowest_recall_peer(dataset: str, request: str = "random_people") -> str:
    """The peer with the lowest mean membership recall, of those on whom the attack works."""
    rows = comparison_rows(dataset, request)
    means = rows.groupby("method")[["membership_recall", "membership_auc"]].mean()
    works = means[means.membership_auc >= MEANINGFUL_AUC]
    return str(works.membership_recall[works.index.map(kind) == "peer"].idxmin())


def detection() -> pd.DataFrame:
    """How well an attacker who knows some of the forgotten separates the others from strangers."""
    rows = read("attacks")
    lines = []
    for method in in_order(method for method in rows.method if kind(method) != "blending"):
        line = name(method)
        for dataset in ("synthfaces", "lfw"):
            seeds = rows[(rows.method == method) & (rows.dataset == dataset)]
            line[f"AUC on {DATASETS[dataset]}"] = score(seeds.told_apart_auc, "auc", 2)
        lines.append(line)
    return pd.DataFrame(lines)


def highest_score(measure: str, requests: tuple[str, ...]) -> pd.DataFrame:
    """CURE and our variants minus the best peer of each request, paired by seed."""
    lines = []
    for dataset, request in product(DATASETS, requests):
        wide = by_seed(dataset, request, measure)
        peer = best_peer(wide)
        line = {
            "faces": DATASETS[dataset],
            "request": REQUESTS[request],
            "best peer": LABELS[peer],
        }
        for method in OURS:
            line[f"{LABELS[method]} minus it"] = change(wide[method] - wide[peer], "ues")
        lines.append(line)
    return pd.DataFrame(lines)


def lowest_recall() -> pd.DataFrame:
    """CURE's membership recall minus the lowest peer's and the oracle's, where the attack works."""
    lines = []
    for dataset, request in product(("synthfaces", "redrawn"), REQUESTS):
        wide = by_seed(dataset, request, "membership_recall")
        peer = lowest_recall_peer(dataset, request)
        lines.append(
            {
                "faces": DATASETS[dataset],
                "request": REQUESTS[request],
                "CURE": f"{wide.cure.mean():.3f}",
                "lowest peer": f"{LABELS[peer]}, {wide[peer].mean():.3f}",
                "CURE minus it": change(wide.cure - wide[peer], "recall"),
                "CURE minus oracle": change(wide.cure - wide.oracle, "recall"),
            }
        )
    return pd.DataFrame(lines)


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "claims": claims,
    "detection": detection,
    "claims-ues": partial(highest_score, "ues", tuple(REQUESTS)),
    "claims-ues-new-images": partial(highest_score, "ues_fresh", PEOPLE),
    "claims-recall": lowest_recall,
}
