"""Which images have low quality, what a score is worth, and whether forgetting them helps."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cure_core.metrics.intervals import difference_interval
from cure_study.figures import style

KINDS = {
    "no": ("as drawn", "0.45", "-"),
    "blurred": ("blurred", "#0072B2", "--"),
    "covered": ("covered", "#D55E00", "-."),
    "mislabelled": ("mislabelled", "#009E73", ":"),
}  # label, colour, line
HIGHLIGHTED = {
    "random": ("random", "black", ":", 1.0),
    "fused": ("fused score (no labels, image alone)", "#D55E00", "-", 1.6),
    "norm": ("feature norm", "#0072B2", "-", 1.6),
    "cluster_margin": ("cluster margin", "#CC79A7", "-", 1.6),
    "oracle": ("best possible order (knows the errors)", "black", "-", 1.0),
}  # label, colour, line, width; the other scorers are grey
CONTRASTS = {
    ("cure_plus", "lowest"): ("CURE+, lowest quality", "#D55E00", "o"),
    ("cure_plus", "best"): ("CURE+, best quality", "#CC79A7", "v"),
    ("oracle", "lowest"): ("retrained without the lowest quality", "#009E73", "D"),
}  # by method and order, each against as many random images: label, colour, marker
PROTOCOL_NAMES = {"unseen": "unseen people, any age", "cross_age": "unseen people, 30 years apart"}
HIGH_ERROR = 0.5  # a threshold that rejects so many genuine pairs says little about an order


@style.in_style
def draw_quality_scores(data: pd.DataFrame) -> Figure:
    """Where each kind of image lies in the order of quality: kind, rank, share."""
    figure, axes = style.panels(1, 1, (style.COLUMN, 2.4))
    ax = axes[0, 0]
    missing = []
    for kind, (label, colour, dashes) in KINDS.items():
        line = data[data.kind == kind]
        if line.share.notna().any():
            look: dict[str, Any] = {"where": "mid", "color": colour, "label": label, "lw": 1.2}
            ax.step(line["rank"], line.share, dashes, **look)
        elif not line.empty:
            missing.append(label)
    style.note_missing(ax, missing)
    ax.set(xlim=(0, 1), xlabel="rank by fused score (0: lowest quality)")
    ax.set(ylim=(0, None), ylabel="share of the kind's images")
    style.shared_legend(figure, 2)
    return figure


@style.in_style
def draw_quality_discard(data: pd.DataFrame) -> Figure:
    """Error against discard, a panel a data set: dataset, scorer, discarded, fnmr, area."""
    datasets = list(dict.fromkeys(data.dataset))
    others = [name for name in dict.fromkeys(data.scorer) if name not in HIGHLIGHTED]
    looks = {name: ("other scorers", "0.8", "-", 0.8) for name in others} | HIGHLIGHTED
    size = (style.PAGE if len(datasets) > 1 else style.PAGE * 0.6, 3.2)
    figure, axes = style.panels(1, len(datasets), size)
    for ax, dataset in zip(axes[0], datasets, strict=True):
        case = data[data.dataset == dataset]
        known = case.dropna(subset=["discarded", "fnmr"])
        for name, (label, colour, dashes, width) in looks.items():
            mean = known[known.scorer == name].groupby("discarded").fnmr.mean()
            if len(mean):
                ax.plot(100 * mean.index, mean, dashes, color=colour, lw=width, label=label)
        style.note_missing(
            ax, [name for name in looks if name in set(case.scorer) - set(known.scorer)]
        )
        start = known.fnmr[known.discarded == 0].mean()
        ax.set_title(f"{style.DATASETS.get(dataset, dataset)}: error {start:.2f} before discarding")
        ax.set_xlabel("images discarded, lowest quality first (%)")
        if start > HIGH_ERROR:
            ax.text(
                0.03, 0.05, "most genuine pairs are rejected at\nthis threshold: read with care",
                transform=ax.transAxes, fontsize=7, color=style.GREY,
            )  # fmt: skip
        if data.discarded.notna().any():
            ax.set_xlim(0, 100 * data.discarded.max())
    axes[0, 0].set_ylabel("false non-match rate at FMR 1e-3")
    style.shared_legend(figure, 3, loc="outside lower center")
    return figure


@style.in_style
def draw_quality_accuracy(data: pd.DataFrame) -> Figure:
    """Accuracy after forgetting by quality minus after as many random images, a panel a protocol.

    A row a run and protocol of natural training: method, order, fraction, protocol, seed, accuracy.
    Paired by seed, with the 95 % t-interval; small: each seed.
    """
    data = data[data.training == "natural"]
    fractions = sorted(data.fraction.unique())
    protocols = list(dict.fromkeys(data.protocol))
    figure, axes = style.panels(1, max(1, len(protocols)), (style.PAGE, 2.9), sharey=True)
    if not protocols:
        style.note(axes[0, 0], "not run")
    for ax, protocol in zip(axes[0], protocols, strict=False):
        _draw_contrasts(ax, data[data.protocol == protocol], fractions)
        ax.axhline(0, color="0.3", lw=0.8)
        ax.set_xticks(range(len(fractions)), [f"{100 * f:g}" for f in fractions])
        ax.set_xlabel("training images forgotten (%)")
        ax.set_title(PROTOCOL_NAMES.get(protocol, protocol))
    axes[0, 0].set_ylabel("accuracy minus that after\nforgetting at random (points)")
    style.shared_legend(figure, 3, loc="outside lower center")
    return figure


def _draw_contrasts(ax: Axes, rows: pd.DataFrame, fractions: list[float]) -> None:
    """Each contrast by the share forgotten, shifted a little to the side of the others."""
    missing = []
    for i, ((method, order), (label, colour, marker)) in enumerate(CONTRASTS.items()):
        less = less_random(rows, method, order)
        if less.empty:
            missing += [label] * bool(((rows.method == method) & (rows.order == order)).any())
            continue
        shown = [fraction for fraction in fractions if fraction in set(less.fraction)]
        places = np.array([fractions.index(fraction) for fraction in shown]) + 0.15 * (i - 1)
        points = [100 * less.less[less.fraction == fraction] for fraction in shown]
        interval = partial(difference_interval, measure="points")
        means = style.draw_upright(ax, places, points, interval, colour)
        ax.plot(places, means, marker, ms=4.5, ls="", color=colour, label=label)
    style.note_missing(ax, missing)


def less_random(rows: pd.DataFrame, method: str, order: str) -> pd.DataFrame:
    """fraction, seed, less: accuracy by an order minus that by as many random images."""
    case = ["fraction", "seed"]
    by_order = rows[rows.method == method].pivot_table("accuracy", case, "order")
    if not {order, "random"} <= set(by_order):
        return pd.DataFrame(columns=[*case, "less"])
    less = (by_order[order] - by_order["random"]).dropna()
    return less.rename("less").reset_index()
