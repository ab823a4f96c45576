"""The measures of a study side by side, and the loss terms behind them."""

from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from cure_study.figures.style import COLOURS, MARKERS, PAGE, STYLE, Picture

MEASURES = (
    ("accuracy", "forget", "accuracy, forgotten"),
    ("accuracy", "retain", "accuracy, retained"),
    ("accuracy", "test", "accuracy, unseen"),
    ("tar", "forget", "TAR@FAR=1e-3, forgotten"),
    ("tar", "retain", "TAR@FAR=1e-3, retained"),
    ("tar", "test", "TAR@FAR=1e-3, unseen"),
    ("membership_recall", "forget", "membership recall"),
    ("rank1_old_gallery", "forget", "rank-1, old gallery"),
    ("rank1_new_gallery", "forget", "rank-1, re-enrolled"),
)


def measure_table(tidy: pd.DataFrame) -> pd.DataFrame:
    """The charted measures from tidy results: measure, model, seed, value."""
    rows = [
        tidy[(tidy.metric == metric) & (tidy.set == which)].assign(measure=label)
        for metric, which, label in MEASURES
    ]
    return pd.concat(rows, ignore_index=True)[["measure", "model", "seed", "value"]]


def draw_measures(data: pd.DataFrame) -> Figure:
    """Before, after and oracle side by side: the mean over seeds large, each seed small."""
    labels = list(dict.fromkeys(data.measure))
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE * 0.75, 0.32 * len(labels) + 0.9), layout="constrained")
        ax = figure.subplots()
        for offset, model in zip((-0.22, 0, 0.22), COLOURS, strict=True):
            own = data[data.model == model]
            if own.empty:
                continue
            y = own.measure.map(labels.index) + offset
            look: dict[str, Any] = {"color": COLOURS[model], "marker": MARKERS[model], "ls": ""}
            if data.seed.nunique() > 1:
                ax.plot(own.value, y, ms=2.5, alpha=0.45, **look)
            mean = own.groupby("measure").value.mean()
            place = mean.index.map(labels.index) + offset
            ax.plot(mean, place, ms=5, label=model, **look)
        ax.set_yticks(range(len(labels)), labels)
        ax.set(ylim=(len(labels) - 0.5, -0.5), xlim=(-0.03, 1.03))
        ax.set_xlabel("share (0.5 is chance for an accuracy)")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.1), ncols=3, frameon=False)
    return figure


def draw_losses(history: pd.DataFrame) -> Figure:
    """Every loss term over the epochs, unweighted, a panel a term, a thin line a seed."""
    terms = [name for name in history.columns if name not in ("epoch", "seed")]
    columns = min(4, len(terms))
    rows = -(-len(terms) // columns)
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE, 1.6 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, sharex=True, squeeze=False)
        for ax, name in zip(axes.flat, terms, strict=False):
            for _, own in history.groupby("seed"):
                ax.plot(own.epoch, own[name], color="#0072B2", lw=1, marker=".", ms=3, alpha=0.7)
            ax.set_title(name.replace("_", " "))
            ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True, nbins=5))
        for ax in axes.flat[len(terms) :]:
            ax.set_visible(False)
        for i, ax in enumerate(axes.flat[: len(terms)]):
            ax.tick_params(labelbottom=i + columns >= len(terms))
            ax.set_xlabel("epoch" if i + columns >= len(terms) else "")
        figure.supylabel("mean over the epoch", fontsize=8)
    return figure
