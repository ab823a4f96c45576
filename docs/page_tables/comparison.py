"""The tables of the comparison of methods."""

from collections.abc import Callable, Sequence
from functools import partial

import pandas as pd

from cure_study.experiments.comparison.methods import LABELS, in_order
from cure_study.figures.ablations import CHANGES, SUPERVISED, WRONG_LABELS, ues_changes
from cure_study.figures.comparison import competing
from page_tables.rows import (
    DATASETS,
    REQUESTS,
    difference,
    interval,
    label,
    random_people,
    read,
)

REFERENCES = ("oracle", "oracle_again", "teacher")


def scores(dataset: str) -> pd.DataFrame:
    """Erasure and indistinguishability of every method on random people."""
    rows = random_people(dataset)
    methods = in_order(competing(rows).method)
    lines = []
    for method in (*methods, *(m for m in REFERENCES if m in set(rows.method))):
        seeds = rows[rows.method == method]
        lines.append(
            {
                "method": label(method),
                "code name": f"`{method}`" if method in methods else "",
                "UES (CURE)": interval(seeds.ues, "ues"),
                "UES, new images": interval(seeds.ues_fresh, "ues"),
                "F": f"{seeds.forgetting.mean():.2f}",
                "S": f"{seeds.stability.mean():.2f}",
                "ToW": interval(seeds.tow, "tow"),
                "membership recall": interval(seeds.membership_recall, "recall"),
            }
        )
    return pd.DataFrame(lines)


def gaps(score: str, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Paired differences of a score between two methods, a line a data set and request."""
    rows = read("comparison")
    lines = []
    for dataset, title in DATASETS.items():
        for request, name in REQUESTS.items():
            case = rows[(rows.dataset == dataset) & (rows.request == request)]
            wide = case.pivot(index="seed", columns="method", values=score)
            line = {"data": title, "request": name}
            for one, other in pairs:
                less = wide[one] - wide[other] if {one, other} <= set(wide) else pd.Series([])
                title_ = f"{LABELS[one]} minus {LABELS[other]}"
                line[title_] = difference(less, score) if less.notna().any() else ""
            lines.append(line)
    return pd.DataFrame(lines)


def ablations(bases: Sequence[str]) -> pd.DataFrame:
    """Each change of these methods, a column a method and data set."""
    changes = ues_changes(read("comparison"))
    changes = changes[changes.request == "random_people"]
    lines = []
    for base in bases:
        for change, text in CHANGES.items():
            case = changes[changes.method == f"{base}_{change}"]
            if case.empty:
                continue
            line = {"method": LABELS[base], "change": text}
            for dataset in ("synthfaces", "lfw"):
                less = case[case.dataset == dataset].change
                line[DATASETS[dataset]] = difference(less, "ues") if len(less) else ""
            lines.append(line)
    return pd.DataFrame(lines)


def recall() -> pd.DataFrame:
    """The membership recall of CURE as one part of it changes."""
    shown = ("random_map", "tau_2", "tau_never", "nearest_map", "frozen", "no_cosine")
    methods = {"cure": "as tuned", **{f"cure_{change}": CHANGES[change] for change in shown}}
    rows = random_people("synthfaces")
    rows = rows[rows.seed.isin(rows[rows.method == "cure_frozen"].seed)]
    lines = []
    for method, text in {**methods, "oracle_again": "a second oracle", "oracle": "oracle"}.items():
        seeds = rows[rows.method == method]
        distance = (seeds.membership_recall - seeds.membership_recall_oracle).abs().mean()
        lines.append(
            {
                "CURE": text,
                "membership recall, three seeds": interval(seeds.membership_recall, "recall"),
                "mean distance from the oracle's": f"{distance:.2f}",
                "F": f"{seeds.forgetting.mean():.2f}",
            }
        )
    return pd.DataFrame(lines)


def wrong_labels() -> pd.DataFrame:
    """UES of CURE and CURE+ minus that of supervised methods with wrong labels, paired by seed."""
    titles = {0: "true labels", 20: "20 % wrong", 40: "40 % wrong"}
    lines = []
    for dataset in ("synthfaces", "lfw"):
        ues = random_people(dataset).pivot(index="seed", columns="method", values="ues")
        for method in ("cure", "cure_plus"):
            for other in SUPERVISED:
                line = {"data": DATASETS[dataset], "UES": f"{LABELS[method]} minus {LABELS[other]}"}
                for suffix, share in WRONG_LABELS.items():
                    less = ues[method] - ues[f"{other}{suffix}"]
                    line[titles[share]] = difference(less, "ues")
                lines.append(line)
    return pd.DataFrame(lines)


def costs() -> pd.DataFrame:
    """Time and memory of each method on one thread, as ratios."""
    rows = read("method_costs").set_index("method")
    methods = [
        method for method in in_order(set(rows.index) - {"bare steps"}) if method != "oracle"
    ]
    return pd.DataFrame(
        {
            "method": label(method),
            "time / retraining": f"{rows.time_to_oracle[method]:.2f}",
            "time / as many bare training steps": f"{rows.time_to_bare[method]:.2f}",
            "memory / retraining": f"{rows.memory_to_oracle[method]:.2f}",
        }
        for method in methods
    )


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "comparison-synthfaces": partial(scores, "synthfaces"),
    "comparison-lfw": partial(scores, "lfw"),
    "gaps-cure": partial(
        gaps, "ues", [("cure", "random_relabel"), ("cure", "dispersion"), ("cure_plus", "cure")]
    ),
    "gaps-ours": partial(
        gaps,
        "ues",
        [
            ("cure_plus", "random_relabel"),
            ("cure_scatter", "random_relabel"),
            ("cure_scatter", "cure_plus"),
        ],
    ),
    "gaps-recall": partial(gaps, "membership_recall", [("cure", "dispersion")]),
    "ablations-cure": partial(ablations, ["cure"]),
    "ablations-variants": partial(
        ablations, ["cure_plus", "cure_scatter", "random_relabel", "bad_teacher"]
    ),
    "recall": recall,
    "wrong-labels": wrong_labels,
    "costs": costs,
}
