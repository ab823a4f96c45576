"""Genuine and impostor scores: their distributions and ROC curves."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cure_core.metrics.verification import roc
from cure_study.figures import style

PAIRS = {
    "genuine": ("#0072B2", "-", "two images of one person"),
    "impostor": ("#E69F00", "--", "images of two people"),
}


def score_histogram(scores: pd.DataFrame, bins: int = 40) -> pd.DataFrame:
    """Similarity scores as shares a bin: model, set, pair, score (the bin's middle), share."""
    low = np.floor(10 * scores.score.min()) / 10
    edges = np.linspace(low, 1, bins + 1)
    tables = []
    for (model, which, genuine), group in scores.groupby(["model", "set", "genuine"]):
        counts, _ = np.histogram(group.score.clip(low, 1), edges)
        columns = {
            "model": model,
            "set": which,
            "pair": "genuine" if genuine else "impostor",
            "score": (edges[:-1] + edges[1:]) / 2,
            "share": counts / counts.sum(),
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


@style.in_style
def draw_scores(data: pd.DataFrame) -> Figure:
    """Scores of pairs of forgotten and of retained people, a column a model.

    In each panel, how much of the two distributions overlaps.
    """
    models = style.models_in(data)
    figure, axes = style.panels(2, len(models), (style.PAGE, 3.6), sharex=True, sharey="row")
    for line, which in zip(axes, ("forget", "retain"), strict=True):
        for ax, model in zip(line, models, strict=True):
            case = data[(data.set == which) & (data.model == model)]
            for pair, (colour, dashes, _) in PAIRS.items():
                bins = case[case.pair == pair]
                look: dict[str, Any] = {"step": "mid", "alpha": 0.35, "color": colour, "lw": 0}
                ax.fill_between(bins.score, bins.share, **look)
                ax.step(bins.score, bins.share, dashes, where="mid", color=colour, lw=1)
            if case.share.isna().all():
                style.note(ax, "no values")
            else:
                overlap = (
                    case.pivot(index="score", columns="pair", values="share").min(axis=1).sum()
                )
                place = {"transform": ax.transAxes, "va": "top", "fontsize": 7}
                ax.text(0.03, 0.97, f"overlap {overlap:.0%}", **place)
            ax.margins(y=0.15)
        line[0].set_ylabel(f"{style.SET_NAMES[which]}\n(share of pairs)")
    for ax, model in zip(axes[0], models, strict=True):
        ax.set_title(style.MODEL_NAMES[model], weight="bold")
    for ax in axes[1]:
        ax.set_xlabel("similarity of the two images")
    keys = [Line2D([], [], color=c, ls=dashes, label=label) for c, dashes, label in PAIRS.values()]
    style.shared_legend(figure, 2, extra=keys)
    return figure


def roc_table(scores: pd.DataFrame, points: int = 150) -> pd.DataFrame:
    """ROC curves: model, set, far, tar; thinned to FARs evenly spaced in log, each exact."""
    tables = []
    for (model, which), group in scores.groupby(["model", "set"]):
        curve = roc(group.score[group.genuine], group.score[~group.genuine])
        grid = np.geomspace(1 / (~group.genuine).sum(), 1, points)
        kept = np.searchsorted(curve.far.to_numpy(), grid, side="right") - 1
        part = curve.iloc[np.unique(kept)].assign(model=str(model), set=str(which))
        tables.append(part[["model", "set", "far", "tar"]])
    return pd.concat(tables, ignore_index=True)


@style.in_style
def draw_roc(data: pd.DataFrame) -> Figure:
    """True accept rate against false accept rate, a panel a set, a line a model."""
    models = style.models_in(data)
    figure, axes = style.panels(1, 3, (style.PAGE, 2.5), sharey=True)
    known = data[data.model.isin(models) & (data.far > 0) & data.tar.notna()]
    for ax, (which, title) in zip(axes[0], style.SET_NAMES.items(), strict=True):
        curves = known[known.set == which]
        for model in style.models_in(curves):
            curve = curves[curves.model == model]
            look: dict[str, Any] = {
                "color": style.COLOURS[model],
                "ls": style.DASHES[model],
                "label": style.MODEL_NAMES[model],
            }
            ax.plot(curve.far, curve.tar, lw=1.4, **look)
        style.note_missing(ax, [model for model in models if model not in set(curves.model)])
        chance = np.geomspace(1e-4, 1)
        ax.plot(chance, chance, color="0.5", lw=0.8, label="chance")
        ax.set(xscale="log", ylim=(-0.02, 1.02), xlim=(6e-4, 1.1))
        ax.set(title=title, xlabel="false accept rate")
    axes[0, 0].set_ylabel("true accept rate")
    style.shared_legend(figure, 4, [*(style.MODEL_NAMES[m] for m in models), "chance"])
    return figure
