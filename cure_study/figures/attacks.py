"""The attacks drawn, from the tidy rows of `attacks.attack_all`."""

from collections.abc import Iterable
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cure_study.figures.style import (
    COLOURS,
    COLUMN,
    MARKERS,
    PAGE,
    STYLE,
    Picture,
    legend_keys,
    note,
    note_missing,
    note_row,
)

MEMBERSHIP = {
    "norm": "norm",
    "views": "steadiness under views",
    "compactness": "closeness to own person",
    "nearest_centroid": "nearest centroid",
    "likelihood_ratio": "likelihood ratio (shadows)",
}

HIDDEN = {
    "rank1_old_gallery": "new pictures found in\nthe old gallery (rank-1)",
    "rank1_old_probe": "old pictures found in\nthe new gallery (rank-1)",
    "auc": "forgotten people told\nfrom strangers (AUC)",
}
WAYS = {
    "as_it_is": "as it is",
    "rotation": "rotated back",
    "linear_map": "mapped linearly",
    "oddness": "by oddness",
    "told_apart": "by known examples",
}  # what is tried to find the forgotten again, or to find them out
FEW_SHOT = {"few_shot": "forgotten", "few_shot_fresh": "new"}  # and whose images enrol


def draw_membership_attacks(rows: pd.DataFrame) -> Figure:
    """AUC and recall of each membership attack: means over seeds, and each seed's interval."""
    attacks = [name for name in MEMBERSHIP if name in set(rows.attack)]
    panels = {"auc": "AUC on held-out people", "recall": "forget images called members"}
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE, 0.36 * len(attacks) + 0.9), layout="constrained")
        axes = figure.subplots(1, 2, sharey=True)
        for ax, (metric, label) in zip(axes, panels.items(), strict=True):
            for offset, (model, colour) in zip((-0.22, 0, 0.22), COLOURS.items(), strict=True):
                chosen = rows.attack.isin(attacks) & (rows.metric == metric)
                own = rows[chosen & (rows.model == model)]
                if own.value.isna().all():
                    continue
                seeds = own.seed.rank(method="dense") - 0.5 - own.seed.nunique() / 2
                y = own.attack.map(attacks.index) + offset + 0.06 * seeds
                ax.hlines(y, own.low, own.high, color=colour, lw=0.8, alpha=0.6)
                _mark_means(ax, own, attacks, offset)
            ax.set(xlabel=label, xlim=(-0.03, 1.03))
            for place, name in enumerate(attacks):
                chosen = (rows.attack == name) & (rows.metric == metric)
                if rows[chosen].value.isna().all():
                    note_row(ax, place)
        axes[0].axvline(0.5, color="0.4", lw=0.8, ls=":")
        axes[0].set_yticks(range(len(attacks)), [MEMBERSHIP[name] for name in attacks])
        axes[0].invert_yaxis()
        _model_legend(figure, axes)
    return figure


def draw_hidden(rows: pd.DataFrame) -> Figure:
    """Old templates found again, and the forgotten told from strangers: means, and each seed."""
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE, 2.0), layout="constrained")
        axes = figure.subplots(1, len(HIDDEN))
        for ax, (metric, label) in zip(axes, HIDDEN.items(), strict=True):
            case = rows[(rows.metric == metric) & rows.attack.isin(WAYS)]
            ways = [way for way in WAYS if way in set(case.attack)]
            for offset, (model, colour) in zip((-0.22, 0, 0.22), COLOURS.items(), strict=True):
                own = case[case.model == model]
                if own.value.isna().all():
                    continue
                y = own.attack.map(ways.index) + offset
                ax.plot(own.value, y, MARKERS[model], color=colour, ms=2.5, alpha=0.4)
                _mark_means(ax, own, ways, offset)
            ax.set(xlabel=label, xlim=(-0.03, 1.03), ylim=(len(ways) - 0.5, -0.5))
            ax.set_yticks(range(len(ways)), [WAYS[way] for way in ways])
            if not ways:
                note(ax, "not run")
            for place, way in enumerate(ways):
                if case[case.attack == way].value.isna().all():
                    note_row(ax, place)
        ax.axvline(0.5, color="0.4", lw=0.8, ls=":")
        _model_legend(figure, axes)
    return figure


def _mark_means(ax: Axes, own: pd.DataFrame, attacks: list[str], offset: float) -> None:
    """One model's mean over seeds of each attack, at the attack's place."""
    model = str(own.model.iloc[0])
    mean = own.groupby("attack").value.mean()
    place = mean.index.map(attacks.index) + offset
    ax.plot(mean, place, MARKERS[model], color=COLOURS[model], ms=5, label=model)


def draw_recovery(rows: pd.DataFrame) -> Figure:
    """Rank-1 against images enrolled, and accuracy against steps of relearning; a line a model."""
    curves = [name for name in FEW_SHOT if name in set(rows.attack)]
    curves += sorted(name for name in set(rows.attack) if "relearning" in name)
    judged = [model for model in COLOURS if model in set(rows.model)]
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE, 2.4), layout="constrained")
        axes = figure.subplots(1, max(1, len(curves)), squeeze=False)[0]
        if not curves:
            note(axes[0], "not run")
        for ax, attack in zip(axes, curves, strict=False):
            missing = []
            for model in judged:
                own = rows[(rows.model == model) & (rows.attack == attack)]
                own, colour = own.dropna(subset=["at", "value"]), COLOURS[model]
                if own.empty:
                    missing.append(model)
                    continue
                mean = own.groupby("at").value.mean()
                ax.plot(mean.index, mean, marker=MARKERS[model], color=colour, ms=4, label=model)
            if attack in FEW_SHOT:
                ax.set(xlabel=f"{FEW_SHOT[attack]} pictures enrolled", ylabel="rank-1")
                ax.set_xticks(sorted(set(rows[rows.attack == attack]["at"].dropna())))
            else:
                n = attack.removeprefix("relearning_")
                ax.set(xlabel=f"steps on {n} picture{'s' * (n != '1')} each")
                ax.set(ylabel="accuracy, forget pairs")
            ax.set_ylim(-0.03 if attack in FEW_SHOT else 0.42, 1.03)
            note_missing(ax, missing)
        _model_legend(figure, axes)
    return figure


def _model_legend(figure: Figure, axes: Iterable[Axes]) -> None:
    """A legend of the models that any panel shows."""
    keys = legend_keys(axes, COLOURS)
    figure.legend(keys.values(), keys.keys(), loc="outside upper center", ncols=3, frameon=False)


def draw_collateral(people: pd.DataFrame) -> Figure:
    """Each retained person: how near they were to someone forgotten, and how much they moved."""
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(COLUMN, 2.6), layout="constrained")
        ax = figure.subplots()
        for model, own in people.groupby("model"):
            look: dict[str, Any] = {
                "color": COLOURS.get(str(model), "0.4"), "marker": MARKERS.get(str(model), "x"),
            }  # fmt: skip
            ax.scatter(own.nearness, own.movement, s=9, alpha=0.6, lw=0, label=model, **look)
        ax.set(xlabel="cosine to the nearest forgotten person", ylabel="movement (1 - cosine)")
        figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure
