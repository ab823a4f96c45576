"""Genuine and impostor scores: their distributions and ROC curves."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from cure_core.metrics.verification import roc
from cure_study.figures.style import (
    COLOURS,
    DASHES,
    PAGE,
    SET_NAMES,
    STYLE,
    Picture,
    legend_keys,
    note,
    note_missing,
)


def score_histogram(scores: pd.DataFrame, bins: int = 40) -> pd.DataFrame:
    """Similarity scores as shares a bin: model, set, pair, score (the bin's middle), share."""
    low = np.floor(10 * scores.score.min()) / 10
    edges = np.linspace(low, 1, bins + 1)
    rows = []
    for (model, which, genuine), own in scores.groupby(["model", "set", "genuine"]):
        counts, _ = np.histogram(own.score.clip(low, 1), edges)
        rows.append(
            pd.DataFrame(
                {
                    "model": model,
                    "set": which,
                    "pair": "genuine" if genuine else "impostor",
                    "score": (edges[:-1] + edges[1:]) / 2,
                    "share": counts / counts.sum(),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def draw_scores(data: pd.DataFrame) -> Figure:
    """Genuine and impostor scores of forgotten and retained people, a column a model."""
    models = [model for model in COLOURS if model in set(data.model)]
    kinds = {"genuine": "#0072B2", "impostor": "#E69F00"}
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE, 3.4), layout="constrained")
        axes = figure.subplots(2, len(models), sharex=True, sharey="row", squeeze=False)
        for i, which in enumerate(("forget", "retain")):
            for j, model in enumerate(models):
                ax = axes[i, j]
                own = data[(data.set == which) & (data.model == model)]
                for kind, colour in kinds.items():
                    line = own[own.pair == kind]
                    ax.fill_between(
                        line.score, line.share, step="mid", alpha=0.35, color=colour, lw=0
                    )
                    style = "-" if kind == "genuine" else "--"
                    ax.step(line.score, line.share, style, where="mid", color=colour, lw=1)
                if own.share.isna().all():
                    note(ax, "no values")
                ax.set_title(f"{model}: {SET_NAMES[which]}")
                if i == 1:
                    ax.set_xlabel("cosine similarity")
                if j == 0:
                    ax.set_ylabel("share of pairs")
        handles = [
            mpl.lines.Line2D(
                [], [], color=colour, ls="-" if kind == "genuine" else "--", label=kind
            )
            for kind, colour in kinds.items()
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
    return figure


def roc_table(scores: pd.DataFrame, points: int = 150) -> pd.DataFrame:
    """ROC curves: model, set, far, tar; thinned to FARs evenly spaced in log, each exact."""
    rows = []
    for (model, which), own in scores.groupby(["model", "set"]):
        curve = roc(own.score[own.genuine], own.score[~own.genuine])
        grid = np.geomspace(1 / (~own.genuine).sum(), 1, points)
        at = np.searchsorted(curve.far.to_numpy(), grid, side="right") - 1
        part = curve.iloc[np.unique(at)].assign(model=str(model), set=str(which))
        rows.append(part[["model", "set", "far", "tar"]])
    return pd.concat(rows, ignore_index=True)


def draw_roc(data: pd.DataFrame) -> Figure:
    """True accept rate against false accept rate, a panel a set, a line a model."""
    models = [model for model in COLOURS if model in set(data.model)]
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE, 2.5), layout="constrained")
        axes = figure.subplots(1, 3, sharey=True)
        known = data[(data.far > 0) & data.tar.notna()]
        labelled = next((which for which in reversed(SET_NAMES) if which in set(known.set)), None)
        for ax, which in zip(axes, SET_NAMES, strict=True):
            own = known[known.set == which]
            drawn = set(own.model)
            note_missing(ax, [model for model in models if model not in drawn])
            sns.lineplot(
                own, x="far", y="tar", hue="model", style="model", hue_order=models,
                style_order=models, palette=COLOURS, dashes=DASHES, ax=ax, lw=1.4,
                estimator=None, legend=which == labelled,
            )  # fmt: skip
            chance = np.geomspace(1e-4, 1)
            ax.plot(chance, chance, color="0.5", lw=0.8, label="chance")
            ax.set(xscale="log", ylim=(-0.02, 1.02), xlim=(6e-4, 1.1))
            ax.set_title(SET_NAMES[which])
            ax.set_xlabel("false accept rate")
            ax.set_ylabel("true accept rate")
            if ax.get_legend() is not None:
                ax.get_legend().remove()
        keys = legend_keys(axes, (*models, "chance"))
        handles, labels = keys.values(), list(keys)
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    return figure
