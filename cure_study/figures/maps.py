"""Embedding maps, drawn from saved coordinates."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from cure_study.figures import style

SETS = {
    "unseen": ("unseen", "0.6", "s", 5),
    "retain": ("retained", "#56B4E9", "o", 5),
    "forget": ("forgotten", "#D55E00", "^", 9),
}  # label, colour, marker, size
COLOUR_CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKER_CYCLE = ("o", "^", "s", "D", "v", "P", "X")


@style.in_style
def draw_map(data: pd.DataFrame) -> Figure:
    """A panel a model on shared axes, coloured by set: model, set, x, y."""
    models = style.models_in(data)
    figure, axes = style.panels(
        1, len(models), (style.PAGE, 3.2), "compressed", sharex=True, sharey=True
    )
    for ax, model in zip(axes[0], models, strict=True):
        _draw_sets(ax, data[data.model == model])
        ax.set(title=style.MODEL_NAMES[model], xlabel="t-SNE 1")
    axes[0, 0].set_ylabel("t-SNE 2")
    _same_square(axes[0], data)
    _legend_of_sets(figure)
    return figure


@style.in_style
def draw_moves(data: pd.DataFrame) -> Figure:
    """Where points go from before to after: set, x, y, x_after, y_after, change, drawn (bool)."""
    figure, axes = style.panels(1, 1, (style.PAGE * 0.62, 3.9), "compressed")
    ax = axes[0, 0]
    _draw_sets(ax, data, alpha=0.35)
    moved = data[data.drawn.astype(bool)]
    ax.quiver(
        moved.x, moved.y, moved.x_after - moved.x, moved.y_after - moved.y, angles="xy",
        scale_units="xy", scale=1, width=0.0025, headwidth=5, headlength=6, color="0.1", alpha=0.75,
    )  # fmt: skip
    ax.set(xlabel="t-SNE 1", ylabel="t-SNE 2")
    ends = moved[["x_after", "y_after"]].set_axis(["x", "y"], axis=1)
    _same_square([ax], pd.concat([data[["x", "y"]], ends]))
    _legend_of_sets(figure)
    return figure


@style.in_style
def draw_map_clusters(data: pd.DataFrame) -> Figure:
    """Forget faces by pseudo-label, before and after: model, cluster, centre (bool), x, y.

    A number stands at the sample nearest to its cluster's centroid, or, if it would touch another
    number, next to it with a line to it: a centroid itself has no position on a map.
    """
    models = [model for model in style.models_in(data) if model != "oracle"]
    figure, axes = style.panels(
        1, len(models), (style.PAGE, 4.1), "compressed", sharex=True, sharey=True
    )
    for ax, model in zip(axes[0], models, strict=True):
        for cluster, points in data[data.model == model].groupby("cluster"):
            row, column = divmod(int(str(cluster)), len(COLOUR_CYCLE))
            marker = MARKER_CYCLE[row % len(MARKER_CYCLE)]
            look: dict[str, Any] = {
                "color": COLOUR_CYCLE[column],
                "marker": marker,
                "rasterized": True,
            }
            ax.scatter(points.x, points.y, s=11, lw=0, alpha=0.75, **look)
        ax.set(title=style.MODEL_NAMES[model], xlabel="t-SNE 1")
    axes[0, 0].set_ylabel("t-SNE 2")
    _same_square(axes[0], data)
    for ax, model in zip(axes[0], models, strict=True):
        _number(ax, data[(data.model == model) & data.centre.astype(bool)])
    return figure


def _number(ax: Axes, centres: pd.DataFrame) -> None:
    points = centres.groupby("cluster")[["x", "y"]].first()
    places = apart(points.to_numpy(), 0.045 * float(np.ptp(ax.get_xlim())))
    for number, point, place in zip(points.index, points.to_numpy(), places, strict=True):
        if not np.array_equal(point, place):
            ax.plot(*np.transpose([point, place]), color="0.2", lw=0.5)
        text = ax.text(place[0], place[1], str(number), ha="center", va="center", fontsize=7)
        text.set_path_effects([withStroke(linewidth=2, foreground="white")])


def apart(points: np.ndarray, least: float) -> np.ndarray:
    """The points (N, 2) with those nearer than `least` pushed off each other, the others still."""
    points = points.astype(float)
    for _ in range(200):
        way = points[:, None] - points
        # Two at one place part along a diagonal.
        away = np.sign(np.arange(len(points))[:, None] - np.arange(len(points)))
        way = np.where((way == 0).all(2)[..., None], 1e-9 * away[..., None], way)
        distance = np.linalg.norm(way, axis=2)
        np.fill_diagonal(distance, np.inf)
        lack = np.clip(1.01 * least - distance, 0, None) * (distance < least)
        if not lack.any():
            break
        points += (way / distance[..., None] * lack[..., None] / 2).sum(1)
    return points


def _draw_sets(ax: Axes, data: pd.DataFrame, alpha: float = 0.8) -> None:
    for name, (_, colour, marker, size) in SETS.items():
        points = data[data.set == name]
        look: dict[str, Any] = {"color": colour, "marker": marker, "rasterized": True}
        ax.scatter(points.x, points.y, s=size, alpha=alpha, lw=0, **look)


def _same_square(axes: Iterable[Axes], data: pd.DataFrame) -> None:
    """The same square for all panels: on a map only distances within it can be read."""
    data = data[["x", "y"]].dropna()
    middle, half = (data.max() + data.min()) / 2, 0.54 * (data.max() - data.min()).max()
    for ax in axes:
        if data.empty:
            style.note(ax, "no points")
            continue
        ax.set_xlim(middle.x - half, middle.x + half)
        ax.set_ylim(middle.y - half, middle.y + half)
        ax.set_aspect("equal")
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.yaxis.set_major_locator(MaxNLocator(4))


def _legend_of_sets(figure: Figure) -> None:
    handles = [
        Line2D([], [], color=colour, marker=marker, ls="", ms=4, label=label)
        for label, colour, marker, _ in reversed(SETS.values())
    ]
    style.shared_legend(figure, 3, extra=handles)
