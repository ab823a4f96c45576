"""The tables of the comparison of methods."""

from collections.abc import Callable
from functools import partial

import pandas as pd

from cure_core.metrics.intervals import difference_interval, seed_interval
from cure_study.figures.ablations import CHANGES, SUPERVISED, WRONG_LABELS, ues_changes
from cure_study.figures.comparison import OUR_LOOKS, competing, methods_by_score
from page_tables.rows import DATASETS, random_people, read


def comparison(dataset: str) -> pd.DataFrame:
    """Every method, best first; the references' values stand in the heads of the columns."""
    rows = random_people(dataset)
    means = rows.groupby("method").mean(numeric_only=True)
    before, oracle = means.loc["teacher"], means.loc["oracle"]
    competing_rows = competing(read("comparison"))
    rows = rows[rows.index.isin(competing_rows.index)]
    lines = []
    for method in methods_by_score(rows):
        seeds = rows[rows.method == method]
        mean = seeds.mean(numeric_only=True)
        _, _, note = OUR_LOOKS.get(method, ("",))[0].partition(",")
        lines.append(
            {
                "": f"`{method}`" + (f",{note}" if note else ""),
                f"UES (CURE) (oracle {oracle.ues:.2f})": seed_interval(seeds.ues, "ues").text(),
                "the same on new images of the forgotten "
                f"(oracle {oracle.ues_fresh:.2f})": seed_interval(seeds.ues_fresh, "ues").text(),
                "F": f"{mean.forgetting:.3f}",
                "S": f"{mean.stability:.3f}",
                f"rank-1 once re-enrolled (before {before.rank1_new_gallery:.2f}, "
                f"oracle {oracle.rank1_new_gallery:.2f})": f"{mean.rank1_new_gallery:.2f}",
                f"ToW (before {before.tow:.2f})": f"{mean.tow:.2f}",
                "membership recall "
                f"(oracle {oracle.membership_recall:.2f})": f"{mean.membership_recall:.3f}",
            }
        )
    return pd.DataFrame(lines)


def ablations() -> pd.DataFrame:
    """Each change of ours, a column a method and data set; bold if the interval excludes 0."""

    def cell(changes: pd.Series) -> str:
        interval = difference_interval(changes, "ues")
        return (
            f"**{interval.text()}**" if interval.low > 0 or interval.high < 0 else interval.text()
        )

    changes = ues_changes(read("comparison"))
    changes = changes[(changes.request == "random_people") & changes.base.isin(OUR_LOOKS)]
    cells = changes.groupby(["dataset", "base", "method"]).change.apply(cell)
    columns = {
        (dataset, base): f"{prefix}`{base}`"
        for dataset, prefix in (("synthfaces", ""), ("lfw", "LFW's "))
        for base in OUR_LOOKS
        if (dataset, base) in cells.index.droplevel("method")
    }
    return pd.DataFrame(
        {"change": label}
        | {
            title: cells.get((dataset, base, f"{base}_{change}"), "")
            for (dataset, base), title in columns.items()
        }
        for change, label in CHANGES.items()
        if any((*where, f"{where[1]}_{change}") in cells.index for where in columns)
    )


def recall() -> pd.DataFrame:
    """The membership recall of the paper's objective as one part of it changes."""
    shown = ("random_map", "tau_2", "tau_never", "nearest_map", "frozen", "no_cosine")
    methods = {"cure": "as tuned", **{f"cure_{change}": CHANGES[change] for change in shown}}
    rows = random_people("synthfaces")
    rows = rows[rows.seed.isin(rows[rows.method == "cure_frozen"].seed)]
    oracle = rows[rows.method == "oracle"].membership_recall.mean()
    lines = []
    for method, label in {**methods, "oracle_again": "a second oracle"}.items():
        seeds = rows[rows.method == method]
        distance = (seeds.membership_recall - seeds.membership_recall_oracle).abs().mean()
        interval = seed_interval(seeds.membership_recall, "recall")
        lines.append(
            {
                "": label,
                f"membership recall (oracle {oracle:.3f})": interval.text(),
                "its distance from the oracle's, mean": f"{distance:.2f}",
                "F": f"{seeds.forgetting.mean():.2f}",
            }
        )
    return pd.DataFrame(lines)


def wrong_labels() -> pd.DataFrame:
    """UES of ours less that of supervised methods with wrong labels, paired by seed."""
    titles = {0: "true labels", 20: "20 % wrong", 40: "40 % wrong"}
    lines = []
    for dataset, title in DATASETS.items():
        ues = random_people(dataset).pivot(index="seed", columns="method", values="ues")
        for method in ("cure", "cure_plus"):
            for other, (label, *_) in SUPERVISED.items():
                line = {"on the same seeds": f"{title}: `{method}` less {label} with labels"}
                for suffix, share in WRONG_LABELS.items():
                    less = (ues[method] - ues[f"{other}{suffix}"]).dropna()
                    line[titles[share]] = difference_interval(less, "ues").text()
                lines.append(line)
    return pd.DataFrame(lines)


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "comparison-synthfaces": partial(comparison, "synthfaces"),
    "comparison-lfw": partial(comparison, "lfw"),
    "ablations": ablations,
    "recall": recall,
    "wrong-labels": wrong_labels,
}
