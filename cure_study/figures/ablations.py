"""What each part of a method contributes, and how wrong labels affect supervised methods."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cure_core.metrics.intervals import Interval, difference_interval, seed_interval
from cure_study.experiments.comparison.methods import LABELS, base_method, in_order, kind
from cure_study.figures import style
from cure_study.figures.comparison import OUR_LOOKS, PEER

WRONG_LABELS = {"": 0, "_20": 20, "_40": 40}  # the end of a method's name: per cent
SUPERVISED = {
    "supervised_scrub": ("#0072B2", "D"),
    "supervised_neg_grad_plus": ("#009E73", "^"),
}  # colour, marker
CHANGES = {
    "no_cosine": "without the cosine term",
    "no_contrastive": "without the contrastive term",
    "no_contrastive_forget": "contrastive term: retain side only",
    "no_contrastive_retain": "contrastive term: forget side only",
    "no_matching": "without matching",
    "no_dispersion": "without dispersion",
    "no_scatter": "without the scatter term",
    "dispersion_matching": "dispersion and matching only",
    "distribution": "with the distribution term",
    "nearest_map": "target: the nearest cluster",
    "random_map": "target: a random cluster",
    "one_to_one": "each target used once",
    "tau_2": "centroids updated every 2nd epoch",
    "tau_never": "centroids never updated",
    "frozen": "batch-norm statistics frozen",
    "colder": "temperature 0.005",
    "more_retained": "64 retain images per batch, not 32",
    "fewer_retained": "16 retain images per batch",
    "spherical": "spherical K-means",
    "gaussian_mixture": "Gaussian mixture",
    "hdbscan": "HDBSCAN",
    "longer": "twice as many epochs",
    "transferred": "settings tuned on SynthFaces",
}  # the end of a variant's name: what is changed


@style.in_style
def draw_cure_ablations(rows: pd.DataFrame) -> Figure:
    """The change of UES by each change to CURE, paired by request and seed, in two columns.

    Means with 95 % intervals over the seeds (Student's t), from three seeds on; small: each seed.
    """
    return _draw_changes(rows, ["cure"])


@style.in_style
def draw_variant_ablations(rows: pd.DataFrame) -> Figure:
    """As `draw_cure_ablations`, for the variants of CURE and for peers at twice the length."""
    changes = ues_changes(rows)
    return _draw_changes(rows, [base for base in in_order(changes.base) if base != "cure"])


def _draw_changes(rows: pd.DataFrame, bases: Sequence[str]) -> Figure:
    changes = ues_changes(rows)
    changes = changes[changes.base.isin(bases) & (changes.request == "random_people")]
    datasets = style.datasets_in(changes)
    labels = _row_labels(changes, bases)
    size = (style.PAGE, 0.19 * len(labels) + 0.8)
    figure, axes = style.panels(1, len(datasets), size, sharey=True, sharex=True)
    for ax, dataset in zip(axes[0], datasets, strict=True):
        case = changes[changes.dataset == dataset]
        for y, method in enumerate(labels):
            seeds = case[case.method == method]
            if len(seeds):  # not a heading, and run on this data set
                base = seeds.base.iloc[0]
                colour, marker = OUR_LOOKS.get(base, (PEER, "D"))
                style.draw_method_row(
                    ax, y, seeds.change, "ues", colour, interval=_change_interval, marker=marker
                )
        ax.axvline(0, color="black", lw=0.8)
        seeds_each = case.groupby("method").seed.nunique()
        few, most = seeds_each.min(), seeds_each.max()
        n = f"{most}" if few == most else f"{few} to {most}"
        ax.set_title(f"{style.DATASETS[dataset]}, random people, n = {n}")
    style.label_rows(axes[0, 0], labels.values(), margin=0.6)
    for tick, name in zip(axes[0, 0].get_yticklabels(), labels, strict=True):
        tick.set_weight("bold" if name in bases else "normal")
    figure.supxlabel("change of UES (CURE) against the method without the change")
    return figure


def _change_interval(changes: pd.Series, measure: str) -> Interval:
    if len(changes) < 3:  # of two seeds it would be wider than the figure
        return Interval(changes.mean(), np.nan, np.nan)
    return difference_interval(changes, measure)


def _row_labels(changes: pd.DataFrame, bases: Sequence[str]) -> dict[str, str]:
    """The label of each row, from the top: a method and below it its changes, as in `CHANGES`."""
    present = set(changes.method)
    labels: dict[str, str] = {}
    for base in bases:
        labels[base] = LABELS[base]
        for change, label in CHANGES.items():
            if f"{base}_{change}" in present:
                labels[f"{base}_{change}"] = label
    return labels


def ues_changes(rows: pd.DataFrame) -> pd.DataFrame:
    """Each ablation's UES minus that of the method it varies, on the same request and seed."""
    case = ["dataset", "request", "seed"]
    ablations = rows[rows.method.map(kind) == "ablation"]
    ablations = ablations.assign(base=ablations.method.map(base_method)).dropna(subset=["base"])
    bases = rows[[*case, "method", "ues"]].rename(columns={"method": "base", "ues": "base_ues"})
    pairs = ablations.merge(bases, on=[*case, "base"])
    pairs = pairs.assign(change=pairs.ues - pairs.base_ues)
    return pairs[[*case, "method", "base", "change"]].dropna(subset=["change"])


def has_cure_ablations(rows: pd.DataFrame) -> bool:
    """Whether any row varies CURE, which is there too."""
    return bool(ues_changes(rows).base.eq("cure").any())


def has_variant_ablations(rows: pd.DataFrame) -> bool:
    """Whether any row varies another method that is there too."""
    return bool(ues_changes(rows).base.ne("cure").any())


def has_label_noise(rows: pd.DataFrame) -> bool:
    """Whether any row is of a supervised method."""
    return bool(rows.method.str.startswith("supervised_").any())


@style.in_style
def draw_label_noise(rows: pd.DataFrame) -> Figure:
    """UES of supervised methods as more labels are wrong, and of methods without labels.

    Means with 95 % intervals over the same seeds; small: each seed. Methods without labels stand at
    the right, beyond the axis of wrong labels.
    """
    datasets = style.datasets_in(rows[rows.method.isin(SUPERVISED)])
    size = (style.PAGE / 2 * max(1, len(datasets)), 2.7)
    figure, axes = style.panels(1, len(datasets), size, sharey=True)
    for ax, dataset in zip(axes[0], datasets, strict=True):
        case = rows[(rows.dataset == dataset) & (rows.request == "random_people")]
        _draw_label_noise(ax, case)
        ax.set_title(f"{style.DATASETS[dataset]}, random people, n = {_seeds(case).seed.nunique()}")
        ax.set_xlabel("wrong labels (%)")
    axes[0, 0].set(ylabel="UES (CURE)", ylim=(-0.02, 1.02))
    style.shared_legend(figure, 4)
    return figure


def _seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the seeds on which supervised methods were run."""
    return rows[rows.seed.isin(rows[rows.method.isin(SUPERVISED)].seed)]


def _draw_label_noise(ax: Axes, rows: pd.DataFrame) -> None:
    rows = _seeds(rows)
    for shift, (method, (colour, marker)) in zip((-0.06, 0.06), SUPERVISED.items(), strict=True):
        places = {f"{method}{end}": i + shift for i, end in enumerate(WRONG_LABELS)}
        look: dict[str, Any] = {"color": colour, "marker": marker, "label": LABELS[method]}
        _draw_points(ax, rows, places, **look)
        peer = method.removeprefix("supervised_")
        look |= {"mfc": "white", "label": f"{LABELS[peer]}, pseudo-labels"}
        _draw_points(ax, rows, {peer: len(WRONG_LABELS) + shift}, **look)
    for i, method in enumerate(("cure", "cure_plus")):
        colour, marker = OUR_LOOKS[method]
        place = len(WRONG_LABELS) + 0.25 + 0.15 * i
        _draw_points(ax, rows, {method: place}, color=colour, marker=marker, label=LABELS[method])
    ax.axvline(len(WRONG_LABELS) - 0.5, color="0.4", lw=0.8, ls=":")
    ticks = [*map(str, WRONG_LABELS.values()), "no labels"]
    ax.set_xticks(range(len(ticks)), ticks)
    ax.set_xlim(-0.4, len(WRONG_LABELS) + 0.7)


def _draw_points(ax: Axes, rows: pd.DataFrame, places: dict[str, float], **look: Any) -> None:
    """The mean of each method with its interval at its place, joined; small: each seed."""
    shown = [method for method in places if rows[rows.method == method].ues.notna().any()]
    if not shown:
        return
    values = [rows[rows.method == method].ues.dropna() for method in shown]
    x = np.array([places[method] for method in shown])
    means = style.draw_upright(ax, x, values, partial(seed_interval, measure="ues"), look["color"])
    ax.plot(x, means, ms=4.5, lw=1, **look)
