"""The attacks on a student, its teacher and its oracle, from the rows of `attacks.attack_all`."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cure_study.figures import style

MEMBERSHIP = {
    "norm": "norm",
    "views": "agreement of views",
    "compactness": "distance to own person",
    "nearest_centroid": "nearest centroid",
    "likelihood_ratio": "likelihood ratio (shadows)",
}
HIDDEN = {
    "rank1_old_gallery": "new images found in\nthe old gallery (rank-1)",
    "rank1_old_probe": "old images found in\nthe new gallery (rank-1)",
    "auc": "detection of the\nforgotten (AUC)",
}
WAYS = {
    "as_it_is": "unchanged",
    "rotation": "after a rotation",
    "linear_map": "after a linear map",
    "oddness": "without examples",
    "told_apart": "with known examples",
}  # the attacks that look for the forgotten in a gallery, or detect that they were forgotten
FEW_SHOT = {"few_shot": "forgotten", "few_shot_fresh": "new"}  # and which images enrol


@style.in_style
def draw_membership_attacks(rows: pd.DataFrame) -> Figure:
    """AUC and recall of each membership attack: means over seeds, and each seed's interval."""
    attacks = [name for name in MEMBERSHIP if name in set(rows.attack)]
    titles = {"auc": "AUC on held-out people", "recall": "forget images called members"}
    size = (style.PAGE, 0.36 * len(attacks) + 0.9)
    figure, axes = style.panels(1, 2, size, sharey=True)
    for ax, (metric, title) in zip(axes[0], titles.items(), strict=True):
        case = rows[rows.attack.isin(attacks) & (rows.metric == metric)]
        for model in style.models_in(case):
            seeds = case[case.model == model]
            shift = 0.06 * (seeds.seed.rank(method="dense") - 0.5 - seeds.seed.nunique() / 2)
            y = seeds.attack.map(attacks.index) + style.OFFSETS[model] + shift
            ax.hlines(y, seeds.low, seeds.high, color=style.COLOURS[model], lw=0.8, alpha=0.6)
        style.draw_model_rows(ax, case, attacks, "attack", seeds=False)
        _note_empty_rows(ax, case, attacks)
        ax.set(xlabel=title, xlim=(-0.03, 1.03))
    axes[0, 0].axvline(0.5, color="0.4", lw=0.8, ls=":")
    style.label_rows(axes[0, 0], [MEMBERSHIP[name] for name in attacks])
    style.shared_legend(figure, 3, style.MODEL_NAMES.values())
    return figure


@style.in_style
def draw_hidden(rows: pd.DataFrame) -> Figure:
    """Matching across old templates, and detection of the forgotten: means, and each seed."""
    figure, axes = style.panels(1, len(HIDDEN), (style.PAGE, 2.0))
    for ax, (metric, label) in zip(axes[0], HIDDEN.items(), strict=True):
        case = rows[(rows.metric == metric) & rows.attack.isin(WAYS)]
        attacks = [attack for attack in WAYS if attack in set(case.attack)]
        style.draw_model_rows(ax, case, attacks, "attack")
        _note_empty_rows(ax, case, attacks)
        if not attacks:
            style.note(ax, "not run")
        ax.set(xlabel=label, xlim=(-0.03, 1.03))
        style.label_rows(ax, [WAYS[attack] for attack in attacks])
    axes[0, -1].axvline(0.5, color="0.4", lw=0.8, ls=":")
    style.shared_legend(figure, 3, style.MODEL_NAMES.values())
    return figure


def _note_empty_rows(ax: Axes, case: pd.DataFrame, attacks: list[str]) -> None:
    for row, attack in enumerate(attacks):
        if case[case.attack == attack].value.isna().all():
            style.note(ax, "no value", row=row)


@style.in_style
def draw_recovery(rows: pd.DataFrame) -> Figure:
    """Rank-1 against images enrolled, and accuracy against steps of relearning; a line a model."""
    curves = [name for name in FEW_SHOT if name in set(rows.attack)]
    curves += sorted(name for name in set(rows.attack) if "relearning" in name)
    figure, axes = style.panels(1, max(1, len(curves)), (style.PAGE, 2.4))
    if not curves:
        style.note(axes[0, 0], "not run")
    for ax, attack in zip(axes[0], curves, strict=False):
        case = rows[rows.attack == attack].dropna(subset=["at", "value"])
        for model in style.models_in(case):
            mean = case[case.model == model].groupby("at").value.mean()
            look: dict[str, Any] = {"marker": style.MARKERS[model], "color": style.COLOURS[model]}
            seeds = case[case.model == model]
            ax.plot(seeds["at"], seeds.value, ls="", ms=2, alpha=0.4, **look)
            ax.plot(mean.index, mean, ms=4, label=style.MODEL_NAMES[model], **look)
        if attack in FEW_SHOT:
            ax.set(xlabel=f"{FEW_SHOT[attack]} images enrolled", ylabel="rank-1")
            ax.set(xticks=sorted(set(case["at"])), ylim=(-0.03, 1.03))
        else:
            n = attack.removeprefix("relearning_")
            ax.set(xlabel=f"steps on {n} image{'s' * (n != '1')} each")
            ax.set(ylabel="accuracy, forget pairs", ylim=(0.42, 1.03))
        style.note_missing(
            ax, [model for model in style.models_in(rows) if model not in set(case.model)]
        )
    style.shared_legend(figure, 3, style.MODEL_NAMES.values())
    return figure


@style.in_style
def draw_collateral(people: pd.DataFrame) -> Figure:
    """Each retained person: how near they were to someone forgotten, and how much they moved."""
    figure, axes = style.panels(1, 1, (style.COLUMN, 2.6))
    ax = axes[0, 0]
    for model, points in people.groupby("model"):
        colour, marker = style.COLOURS.get(str(model), "0.4"), style.MARKERS.get(str(model), "x")
        look: dict[str, Any] = {
            "color": colour,
            "marker": marker,
            "label": style.MODEL_NAMES.get(str(model), model),
        }
        ax.scatter(points.nearness, points.movement, s=9, alpha=0.6, lw=0, **look)
    ax.set(xlabel="cosine to the nearest forgotten person", ylabel="movement (1 - cosine)")
    style.shared_legend(figure, 2)
    return figure
