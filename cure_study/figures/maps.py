"""Embedding maps, drawn from saved coordinates."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cure_study.figures.style import COLOURS, PAGE, STYLE, Picture, note

SETS = {"unseen": ("0.6", "s"), "retain": ("#56B4E9", "o"), "forget": ("#D55E00", "^")}
SET_LABELS = {"unseen": "unseen", "retain": "retained", "forget": "forgotten"}
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SHAPES = ("o", "^", "s", "D", "v", "P", "X")


def draw_map(data: pd.DataFrame, axes_label: str = "t-SNE") -> Figure:
    """A panel a model on shared axes, coloured by set: model, set, x, y."""
    models = [model for model in COLOURS if model in set(data.model)]
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE, 3.2), layout="compressed")
        axes = figure.subplots(1, len(models), sharex=True, sharey=True, squeeze=False)[0]
        for ax, model in zip(axes, models, strict=True):
            _sets(ax, data[data.model == model])
            ax.set_title(model)
            ax.set_xlabel(f"{axes_label} 1")
        axes[0].set_ylabel(f"{axes_label} 2")
        _frame(axes, data)
        _set_legend(figure)
    return figure


def draw_pca(data: pd.DataFrame) -> Figure:
    """As `draw_map`, by the first two principal components."""
    return draw_map(data, "principal component")


def draw_moves(data: pd.DataFrame) -> Figure:
    """Where points go from before to after: set, x, y, x_after, y_after, change, drawn (bool)."""
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE * 0.62, 3.9), layout="compressed")
        ax = figure.subplots()
        _sets(ax, data, alpha=0.35)
        moved = data[data.drawn.astype(bool)]
        ax.quiver(
            moved.x, moved.y, moved.x_after - moved.x, moved.y_after - moved.y, angles="xy",
            scale_units="xy", scale=1, width=0.0025, headwidth=5, headlength=6, color="0.1",
            alpha=0.75,
        )  # fmt: skip
        ax.set(xlabel="t-SNE 1", ylabel="t-SNE 2")
        span = pd.DataFrame({"x": [*data.x, *moved.x_after], "y": [*data.y, *moved.y_after]})
        _frame([ax], span)
        _set_legend(figure)
    return figure


def draw_map_clusters(data: pd.DataFrame) -> Figure:
    """Forget faces by pseudo-label, before and after: model, cluster, centre (bool), x, y.

    A number stands at the sample nearest to its cluster's centroid, or where it would touch
    another, beside it with a line to it: a centroid has no place of its own on a map.
    """
    models = [model for model in ("before", "after") if model in set(data.model)]
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE, 4.1), layout="compressed")
        axes = figure.subplots(1, len(models), sharex=True, sharey=True, squeeze=False)[0]
        for ax, model in zip(axes, models, strict=True):
            for cluster, own in data[data.model == model].groupby("cluster"):
                number = int(str(cluster))
                ax.scatter(
                    own.x, own.y, s=11, color=CYCLE[number % len(CYCLE)], lw=0, alpha=0.75,
                    marker=SHAPES[number // len(CYCLE) % len(SHAPES)], rasterized=True,
                )  # fmt: skip
            ax.set_title(model)
            ax.set_xlabel("t-SNE 1")
        axes[0].set_ylabel("t-SNE 2")
        _frame(axes, data)
        for ax, model in zip(axes, models, strict=True):
            _number(ax, data[(data.model == model) & data.centre.astype(bool)])
    return figure


def _number(ax: Axes, centres: pd.DataFrame) -> None:
    from matplotlib.patheffects import withStroke

    at = centres.groupby("cluster")[["x", "y"]].first()
    places = apart(at.to_numpy(), 0.045 * float(np.ptp(ax.get_xlim())))
    for number, point, place in zip(at.index, at.to_numpy(), places, strict=True):
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


def _sets(ax: Axes, own: pd.DataFrame, alpha: float = 0.8) -> None:
    for name, (colour, marker) in SETS.items():
        part = own[own.set == name]
        size = 9 if name == "forget" else 5
        ax.scatter(
            part.x, part.y, s=size, color=colour, marker=marker, alpha=alpha, lw=0, rasterized=True
        )


def _frame(axes: np.ndarray | list[Axes], data: pd.DataFrame) -> None:
    """The same square for all panels: on a map only distances within it can be read."""
    data = data[["x", "y"]].dropna()
    if data.empty:
        for ax in axes:
            note(ax, "no points")
        return
    middle = [(data[axis].min() + data[axis].max()) / 2 for axis in "xy"]
    half = 0.54 * max(data[axis].max() - data[axis].min() for axis in "xy")
    for ax in axes:
        ax.set_xlim(middle[0] - half, middle[0] + half)
        ax.set_ylim(middle[1] - half, middle[1] + half)
        ax.set_aspect("equal")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(mpl.ticker.MaxNLocator(4))


def _set_legend(figure: Figure) -> None:
    handles = [
        mpl.lines.Line2D([], [], color=c, marker=m, ls="", ms=4, label=SET_LABELS[s])
        for s, (c, m) in reversed(SETS.items())
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
