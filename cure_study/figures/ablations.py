"""What each part of a method contributes, and how wrong labels affect supervised methods."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cure_core.metrics.intervals import Interval, difference_interval
from cure_study.experiments.comparison.methods import base_method, kind
from cure_study.figures import style
from cure_study.figures.comparison import OUR_LOOKS, PEER

WRONG_LABELS = {"": 0, "_20": 20, "_40": 40}  # the end of a method's name: per cent
SUPERVISED = {
    "supervised_scrub": ("SCRUB", PEER, "o"),
    "supervised_neg_grad_plus": ("NegGrad+", "#56B4E9", "^"),
}  # label, colour, marker
CHANGES = {
    "no_cosine": "without the cosine term",
    "no_contrastive": "without the contrastive term",
    "no_contrastive_forget": "contrastive term without its forget side",
    "no_contrastive_retain": "contrastive term without its retain side",
    "no_matching": "without matching",
    "no_dispersion": "without dispersion",
    "no_scatter": "without the scatter term",
    "dispersion_matching": "dispersion and matching alone",
    "distribution": "with the distribution term",
    "nearest_map": "to the nearest cluster",
    "random_map": "to a random cluster",
    "one_to_one": "each target used once",
    "tau_2": "centroids renewed every second epoch",
    "tau_never": "centroids never renewed",
    "frozen": "statistics of batch norm frozen",
    "colder": "temperature 0.005",
    "more_retained": "64 retained a batch, not 32",
    "fewer_retained": "16 retained a batch",
    "spherical": "spherical K-means",
    "gaussian_mixture": "a Gaussian mixture",
    "hdbscan": "HDBSCAN",
    "longer": "twice the length",
    "transferred": "the settings of SynthFaces",
}  # the end of a variant's name: what is changed


@style.in_style
def draw_ablations(rows: pd.DataFrame) -> Figure:
    """The change of UES by each change to a method, paired by request and seed.

    Below each method its changes, the largest loss on the first data set first. Lines are 95 %
    intervals over the seeds (Student's t), from three seeds on.
    """
    changes = ues_changes(rows)
    datasets = style.datasets_in(changes)
    labels = _row_labels(changes, datasets)
    size = (style.PAGE, 0.18 * len(labels) + 0.8)
    figure, axes = style.panels(1, len(datasets), size, sharey=True, sharex=True)
    for ax, dataset in zip(axes[0], datasets, strict=True):
        case = changes[changes.dataset == dataset]
        for y, method in enumerate(labels):
            seeds = case[case.method == method]
            if seeds.empty:  # a base, or not run on this data set
                continue
            _, colour, marker = OUR_LOOKS.get(seeds.base.iloc[0], ("", PEER, "D"))
            style.draw_method_row(
                ax, y, seeds.change, "ues", colour, interval=_change_interval, marker=marker
            )
        ax.axvline(0, color="black", lw=0.8)
        seeds_each = case.groupby("method").seed.nunique()
        few, most = seeds_each.min(), seeds_each.max()
        n = f"{most}" if few == most else f"{few} to {most}"
        ax.set_title(f"{dataset}, random people, n = {n}")
    style.label_rows(axes[0, 0], labels.values(), margin=0.6)
    for tick, name in zip(axes[0, 0].get_yticklabels(), labels, strict=True):
        tick.set_weight("bold" if name in set(changes.base) else "normal")
    figure.supxlabel("change of UES (CURE) against the method without the change")
    return figure


def _change_interval(changes: pd.Series, measure: str) -> Interval:
    if len(changes) < 3:  # of two seeds it would be wider than the figure
        return Interval(changes.mean(), np.nan, np.nan)
    return difference_interval(changes, measure)


def _row_labels(changes: pd.DataFrame, datasets: Sequence[str]) -> dict[str, str]:
    """The label of each row, from the top: a method and below it its changes."""
    means = changes.pivot_table(index="method", columns="dataset", values="change")[datasets]
    order = means.bfill(axis=1).iloc[:, 0].sort_values().index
    base_of = changes.drop_duplicates("method").set_index("method").base
    present = set(base_of)
    labels: dict[str, str] = {}
    for base in [
        *(base for base in OUR_LOOKS if base in present),
        *sorted(present - set(OUR_LOOKS)),
    ]:
        labels[base] = base
        for method in order[(base_of[order] == base).to_numpy()]:
            change = method.removeprefix(f"{base}_")
            labels[method] = CHANGES.get(change, change.replace("_", " "))
    return labels


def ues_changes(rows: pd.DataFrame) -> pd.DataFrame:
    """Each ablation's UES less that of the method it varies, on the same request and seed."""
    case = ["dataset", "request", "seed"]
    ablations = rows[rows.method.map(kind) == "ablation"]
    ablations = ablations.assign(base=ablations.method.map(base_method)).dropna(subset=["base"])
    bases = rows[[*case, "method", "ues"]].rename(columns={"method": "base", "ues": "base_ues"})
    pairs = ablations.merge(bases, on=[*case, "base"])
    pairs = pairs.assign(change=pairs.ues - pairs.base_ues)
    return pairs[[*case, "method", "base", "change"]].dropna(subset=["change"])


def has_ablations(rows: pd.DataFrame) -> bool:
    """Whether any row varies another that is there too."""
    return not ues_changes(rows).empty


def has_label_noise(rows: pd.DataFrame) -> bool:
    """Whether any row is of a supervised method."""
    return bool(rows.method.str.startswith("supervised_").any())


@style.in_style
def draw_label_noise(rows: pd.DataFrame) -> Figure:
    """UES of supervised methods as more labels are wrong; CURE, which reads none, as a line."""
    datasets = style.datasets_in(rows[rows.method.isin(SUPERVISED)])
    size = (style.PAGE / 2 * max(1, len(datasets)), 2.4)
    figure, axes = style.panels(1, len(datasets), size, sharey=True)
    for ax, dataset in zip(axes[0], datasets, strict=True):
        _draw_label_noise(ax, rows[(rows.dataset == dataset) & (rows.request == "random_people")])
        ax.set_title(f"{dataset}, random people")
        ax.set_xlabel("wrong labels (%)")
        ax.set_xticks(list(WRONG_LABELS.values()))
    axes[0, 0].set(ylabel="UES (CURE)", ylim=(-0.02, 1.02))
    style.shared_legend(figure, 2, fontsize=6.5)
    return figure


def _draw_label_noise(ax: Axes, rows: pd.DataFrame) -> None:
    rows = rows[rows.seed.isin(rows[rows.method.isin(SUPERVISED)].seed)]
    means = rows.groupby("method").ues.mean()

    def level(method: str, label: str, **look: Any) -> None:
        ax.axhline(means.get(method, np.nan), lw=1, label=f"{label}, no labels", **look)

    for method, (label, colour, marker) in SUPERVISED.items():
        level(method.removeprefix("supervised_"), label, color=colour, ls=":")
        shares = {f"{method}{suffix}": share for suffix, share in WRONG_LABELS.items()}
        seeds = rows[rows.method.isin(shares)]
        ax.plot(seeds.method.map(shares), seeds.ues, ".", ms=3, color=colour, alpha=0.5)
        mean = seeds.ues.groupby(seeds.method.map(shares)).mean()
        ax.plot(mean.index, mean, color=colour, marker=marker, ms=4, label=label)
    level("cure_plus", "cure_plus", color=OUR_LOOKS["cure_plus"][1], ls="-")
    level("cure", "cure", color=OUR_LOOKS["cure"][1], ls="--")
