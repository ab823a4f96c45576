"""Forgetting against stability as each method's strength varies."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cure_study.experiments.comparison.methods import kind
from cure_study.figures import style
from cure_study.figures.comparison import OUR_LOOKS, PEER, methods_by_score

COLUMNS = 5
LIGHT = "#BBBBBB"
UES_LEVELS = (0.2, 0.4, 0.6, 0.8)


@style.in_style
def draw_frontier(rows: pd.DataFrame) -> Figure:
    """Forgetting against stability, each method a curve over its strength, a panel a peer.

    Peers are in the order of their tuned UES on the first data set, best first. The curves of CURE,
    cure_plus and cure_scatter are in every panel; a marker grows with the strength, and that of the
    tuned strength has a black edge; contours are of equal UES. Means are over the seeds that every
    point of a data set has.
    """
    rows = on_common_seeds(rows)
    datasets = style.datasets_in(rows)
    tuned = rows.assign(ues=rows.ues.where(rows.factor == 1))
    peers = [method for method in methods_by_score(tuned) if kind(method) == "peer"]
    lines = -(-len(peers) // COLUMNS)
    size = (style.PAGE, 1.75 * lines * len(datasets) + 0.5)
    figure = style.StudyFigure(figsize=size, layout="constrained")
    parts = figure.subfigures(len(datasets), 1, squeeze=False)[:, 0]
    for part, dataset in zip(parts, datasets, strict=True):
        points = rows[rows.dataset == dataset]
        means = points.groupby(["method", "factor"])[["forgetting", "stability"]].mean()
        axes = part.subplots(lines, COLUMNS, sharex=True, sharey=True, squeeze=False)
        for ax, peer in zip(axes.flat, peers, strict=False):
            _draw_curves(ax, means, peer)
        for ax in axes.flat[len(peers) :]:
            ax.set_visible(False)
        axes[0, 0].set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        title = f"{dataset}, random people, n = {points.seed.nunique()}"
        part.suptitle(title, fontsize=8, weight="bold")
        part.supxlabel("F, forgetting")
        part.supylabel("S, stability")
    levels = ", ".join(map(str, UES_LEVELS))
    extra = [
        Line2D([], [], ls="", marker="o", ms=4, color=LIGHT, mec="black", label="as tuned"),
        Line2D([], [], color=LIGHT, lw=0.8, label=f"UES {levels}"),
    ]
    style.shared_legend(figure, 3, extra=extra)
    return figure


def has_frontier(rows: pd.DataFrame) -> bool:
    """Whether any curve is a peer's, which has a panel."""
    return bool(rows.method.map(kind).eq("peer").any())


def on_common_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the seeds that have the most points of their data set: usually all of them."""
    points = rows.groupby(["dataset", "seed"]).method.transform("size")
    return rows[points == points.groupby(rows.dataset).transform("max")]


def _draw_curves(ax: Axes, means: pd.DataFrame, peer: str) -> None:
    """means: forgetting, stability by (method, factor)."""
    grid = np.linspace(0, 1, 101)
    ues = np.outer(grid, grid)
    ax.contour(grid, grid, ues, levels=UES_LEVELS, colors=LIGHT, linewidths=0.5)
    looks = {**OUR_LOOKS, peer: ("the peer of the panel", PEER, "D")}
    for method, (label, colour, marker) in looks.items():
        if method in means.index:
            curve = means.loc[method].sort_index()
            look: dict[str, Any] = {"color": colour, "marker": marker}
            ax.plot(curve.forgetting, curve.stability, lw=1, ms=3, label=label, **look)
            for size, (factor, point) in enumerate(curve.iterrows()):
                edge = "black" if factor == 1 else "none"
                ax.plot(point.forgetting, point.stability, ms=2 + size, mec=edge, **look)
    ax.set_title(peer)
    if peer not in means.index:
        style.note(ax, "not run")
