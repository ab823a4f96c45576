"""Which images are poor, what a quality score is worth, and whether forgetting them helps."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cure_core.metrics.intervals import difference_interval
from cure_study.figures import style

KINDS = {
    "no": ("as drawn", "0.45", "-"),
    "blurred": ("blurred", "#0072B2", "--"),
    "covered": ("covered", "#D55E00", "-."),
    "mislabelled": ("mislabelled", "#009E73", ":"),
}  # label, colour, line
ORDERINGS = {
    "random": ("random", "0.55", "-", 1.0),
    "oracle": ("oracle", "black", "-", 1.0),
    "truth": ("true quality", "#009E73", "--", 1.4),
    "fused": ("fused", "#D55E00", "-", 1.8),
}  # label, colour, line, width
OTHER_COLOURS = ["#0072B2", "#56B4E9", "#CC79A7", "#E69F00", "#999933"]
RUNS = {
    ("cure_plus", "lowest"): ("cure_plus, lowest", "#D55E00", "o", "-"),
    ("cure", "lowest"): ("cure, lowest", "#E69F00", "s", "-"),
    ("fine_tune", "lowest"): ("fine-tuned without lowest", "#56B4E9", "^", "-"),
    ("cure_plus", "random"): ("cure_plus, random", "0.5", "o", "--"),
    ("cure_plus", "best"): ("cure_plus, best", "#CC79A7", "v", "--"),
    ("oracle", "lowest"): ("retrained without lowest", "#009E73", "D", "none"),
    ("oracle", "random"): ("retrained without random", "black", "x", "none"),
}  # by method and order: label, colour, marker, line
PROTOCOL_NAMES = {"unseen": "strangers, any age", "cross_age": "strangers, 30 years apart"}
DATASET_NAMES = {"synthfaces": "SynthFaces", "lfw": "LFW"}


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
    ax.set(xlim=(0, 1), xlabel="rank by fused quality (0 poorest)")
    ax.set(ylim=(0, None), ylabel="share of the kind's images")
    style.shared_legend(figure, 2)
    return figure


@style.in_style
def draw_quality_discard(data: pd.DataFrame) -> Figure:
    """Error against discard, a panel a data set: dataset, scorer, discarded, fnmr, area."""
    datasets = list(dict.fromkeys(data.dataset))
    scorers = list(dict.fromkeys(data.scorer))
    scorers = [name for name in scorers if name not in ORDERINGS] + list(ORDERINGS)
    figure, axes = style.panels(
        1, len(datasets), (style.PAGE if len(datasets) > 1 else style.PAGE * 0.6, 3.6)
    )
    for ax, dataset in zip(axes[0], datasets, strict=True):
        case = data[data.dataset == dataset]
        known = case.dropna(subset=["discarded", "fnmr"])
        for i, name in enumerate(scorers):
            dashes, colour = (":", "-.", "--")[i // 5 % 3], OTHER_COLOURS[i % 5]
            other = (name.replace("_", " "), colour, dashes, 1.0)
            label, colour, dashes, width = ORDERINGS.get(name, other)
            mean = known[known.scorer == name].groupby("discarded").fnmr.mean()
            if len(mean):
                ax.plot(100 * mean.index, mean, dashes, color=colour, lw=width, label=label)
        style.note_missing(
            ax, [name for name in scorers if name in set(case.scorer) - set(known.scorer)]
        )
        ax.set_title(DATASET_NAMES.get(dataset, dataset))
        ax.set_xlabel("images discarded, poorest first (%)")
        if data.discarded.notna().any():
            ax.set_xlim(0, 100 * data.discarded.max())
    axes[0, 0].set_ylabel("false non-match rate at FMR 1e-3")
    style.shared_legend(figure, 4, loc="outside lower center")
    return figure


@style.in_style
def draw_quality_accuracy(data: pd.DataFrame) -> Figure:
    """Signed change of accuracy over the share forgotten, a panel a protocol.

    A row a run and protocol of natural training: method, order, fraction, protocol, seed, change.
    Mean over seeds with the 95 % t-interval.
    """
    data = data[data.training == "natural"]
    fractions = sorted(data.fraction.unique())
    protocols = list(dict.fromkeys(data.protocol))
    figure, axes = style.panels(1, max(1, len(protocols)), (style.PAGE, 3.4), sharey=True)
    if not protocols:
        style.note(axes[0, 0], "not run")
    for ax, protocol in zip(axes[0], protocols, strict=False):
        _draw_changes(ax, data[data.protocol == protocol], fractions)
        ax.axhline(0, color="0.3", lw=0.8)
        ax.set_xticks(range(len(fractions)), [f"{100 * f:g}" for f in fractions])
        ax.set_xlabel("training images forgotten (%)")
        ax.set_title(PROTOCOL_NAMES.get(protocol, protocol))
    axes[0, 0].set_ylabel("change of accuracy (percentage points)")
    axes[0, 0].yaxis.set_major_locator(MaxNLocator(integer=True))
    style.shared_legend(figure, 3, loc="outside lower center")
    return figure


def _draw_changes(ax: Axes, rows: pd.DataFrame, fractions: list[float]) -> None:
    """A line for each kind of run, each shifted a little to the side of the others."""
    missing = []
    for i, ((method, order), (label, colour, marker, dashes)) in enumerate(RUNS.items()):
        runs = rows[(rows.method == method) & (rows.order == order)]
        known = runs.dropna(subset=["change"]).groupby("fraction").change
        if not len(known):
            missing += [label] * (len(runs) > 0)
            continue
        x = np.searchsorted(fractions, known.size().index) + 0.1 * (i - 3)
        mean, low, high = 100 * np.transpose(
            [difference_interval(values, "accuracy") for _, values in known]
        )
        ax.errorbar(
            x, mean, np.nan_to_num([mean - low, high - mean]), color=colour, marker=marker,
            ms=3.5, lw=1, ls=dashes, elinewidth=0.7, label=label,
        )  # fmt: skip
    style.note_missing(ax, missing)
