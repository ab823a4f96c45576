"""Forgetting against stability as each method's strength varies, and both goals of forgetting."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cure_core.metrics.intervals import seed_interval
from cure_study.experiments.comparison.methods import LABELS, in_order, kind
from cure_study.figures import style
from cure_study.figures.comparison import OUR_LOOKS, PEER, competing

LEADING = {
    **OUR_LOOKS,
    "random_relabel": ("#0072B2", "D"),
    "bad_teacher": ("#56B4E9", "v"),
    "dispersion": ("#009E73", "P"),
}  # the methods of the main figure: colour, marker
OTHERS = {
    **{"scrub": "X", "neg_grad_plus": "<", "laf": ">"},
    **{"neg_grad": "h", "fine_tune": "*", "ssd": "p"},
}  # in grey: marker
BLENDS = {"blend": ("#7B3294", "H"), "redistil": ("#7B3294", "1")}  # for the other goal
REFERENCES = {"teacher": "s", "oracle": "D", "oracle_again": "d"}  # in black: marker
TWO_GOALS = {
    **LEADING,
    **{method: ("0.5", marker) for method, marker in OTHERS.items()},
    **BLENDS,
    **{method: ("black", marker) for method, marker in REFERENCES.items()},
}
LIMITS = {"lfw": ((0.25, 1.0), (0.55, 1.02))}  # zoom of a data set: forgetting, stability
COLUMNS = 5
LIGHT = "#BBBBBB"
UES_LEVELS = (0.2, 0.4, 0.6, 0.8)


@style.in_style
def draw_frontier(rows: pd.DataFrame) -> Figure:
    """The curves of the leading methods over their strength, a panel a data set.

    A marker grows with the strength; the tuned one has a black edge and its 95 % intervals.
    Contours are of equal UES. Means are over the seeds that every point of a data set has.
    """
    rows = on_common_seeds(rows)
    datasets = style.datasets_in(rows)
    figure, axes = style.panels(1, len(datasets), (style.PAGE / 2 * len(datasets), 3.6))
    for ax, dataset in zip(axes[0], datasets, strict=True):
        points = rows[rows.dataset == dataset]
        _draw_curves(ax, points, LEADING, intervals=True)
        x, y = LIMITS.get(dataset, ((-0.03, 1.03), (-0.03, 1.03)))
        ax.set(title=_title(points), xlabel="F, forgetting", xlim=x, ylim=y)
        _label_contours(ax, x, y)
    axes[0, 0].set_ylabel("S, stability")
    style.shared_legend(figure, 3, [LABELS[method] for method in LEADING], extra=[_tuned()])
    return figure


@style.in_style
def draw_all_frontiers(rows: pd.DataFrame) -> Figure:
    """The curve of each peer beside those of CURE and its variants, a panel a peer."""
    rows = on_common_seeds(rows)
    datasets = style.datasets_in(rows)
    peers = [method for method in in_order(rows.method) if kind(method) == "peer"]
    lines = -(-len(peers) // COLUMNS)
    size = (style.PAGE, 1.75 * lines * len(datasets) + 0.5)
    figure = style.StudyFigure(figsize=size, layout="constrained")
    parts = figure.subfigures(len(datasets), 1, squeeze=False)[:, 0]
    for part, dataset in zip(parts, datasets, strict=True):
        points = rows[rows.dataset == dataset]
        axes = part.subplots(lines, COLUMNS, sharex=True, sharey=True, squeeze=False)
        for ax, peer in zip(axes.flat, peers, strict=False):
            _draw_curves(ax, points, {**OUR_LOOKS, peer: (PEER, "D")})
            ax.set_title(LABELS[peer])
            if peer not in set(points.method):
                style.note(ax, "not run")
        for ax in axes.flat[len(peers) :]:
            ax.set_visible(False)
        axes[0, 0].set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        part.suptitle(_title(points), fontsize=8, weight="bold")
        part.supxlabel("F, forgetting")
        part.supylabel("S, stability")
    ours = [
        Line2D([], [], color=colour, marker=marker, lw=1, ms=3, label=LABELS[method])
        for method, (colour, marker) in OUR_LOOKS.items()
    ]
    other = Line2D([], [], color=PEER, marker="D", lw=1, ms=3, label="the method of the panel")
    levels = f"UES {', '.join(map(str, UES_LEVELS))}"
    extra = [_tuned(), Line2D([], [], color=LIGHT, lw=0.8, label=levels)]
    handles = [*ours, other, *extra]
    figure.legend(handles=handles, ncols=3, loc="outside upper center")
    return figure


@style.in_style
def draw_two_goals(rows: pd.DataFrame) -> Figure:
    """Erasure (UES) and indistinguishability (ToW) of each method, a panel a data set.

    Random people; means with 95 % intervals over the seeds, each eraser as tuned for UES.
    """
    rows = rows[rows.request == "random_people"]
    methods = competing(rows)
    datasets = [name for name in style.datasets_in(methods) if name in ("synthfaces", "lfw")]
    figure, axes = style.panels(1, max(1, len(datasets)), (style.PAGE, 3.4), sharey=True)
    for ax, dataset in zip(axes[0], datasets, strict=False):
        case = methods[methods.dataset == dataset]
        for method in in_order(case.method):
            _draw_cross(ax, case[case.method == method], *TWO_GOALS[method])
        for method in (*BLENDS, *REFERENCES):
            seeds = rows[(rows.dataset == dataset) & (rows.method == method)].dropna(subset=["tow"])
            if len(seeds):
                _draw_cross(ax, seeds, *TWO_GOALS[method])
        ax.set(title=_title(case), xlim=(-0.03, 1.0), ylim=(0.3, 1.03))
        ax.set_xlabel("UES (CURE): erasure")
    axes[0, 0].set_ylabel("ToW: as if retrained")
    keys = [
        Line2D([], [], color=colour, marker=marker, ls="", ms=4.5, label=LABELS[method])
        for method, (colour, marker) in TWO_GOALS.items()
    ]
    style.shared_legend(figure, 5, extra=keys)
    return figure


def has_frontier(rows: pd.DataFrame) -> bool:
    """Whether any curve is a peer's, which has a panel."""
    return bool(rows.method.map(kind).eq("peer").any())


def has_two_goals(rows: pd.DataFrame) -> bool:
    """Whether any method was compared with an oracle on random people."""
    rows = competing(rows[rows.request == "random_people"])
    return "tow" in rows and bool(rows.tow.notna().any())


def on_common_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the seeds that have the most points of their data set: usually all of them."""
    points = rows.groupby(["dataset", "seed"]).method.transform("size")
    return rows[points == points.groupby(rows.dataset).transform("max")]


def _title(points: pd.DataFrame) -> str:
    dataset = style.DATASETS[points.dataset.iloc[0]]
    return f"{dataset}, random people, n = {points.seed.nunique()}"


def _tuned() -> Line2D:
    return Line2D([], [], ls="", marker="o", ms=4.5, color=LIGHT, mec="black", label="as tuned")


def _draw_curves(
    ax: Axes, points: pd.DataFrame, looks: Mapping[str, tuple[str, str]], intervals: bool = False
) -> None:
    grid = np.linspace(0, 1, 101)
    ues = np.outer(grid, grid)
    ax.contour(grid, grid, ues, levels=UES_LEVELS, colors=LIGHT, linewidths=0.5)
    for method, (colour, marker) in looks.items():
        rows = points[points.method == method]
        if rows.empty:
            continue
        curve = rows.groupby("factor")[["forgetting", "stability"]].mean().sort_index()
        look: dict[str, Any] = {"color": colour, "marker": marker}
        ax.plot(curve.forgetting, curve.stability, lw=1, ms=3, label=LABELS[method], **look)
        for size, (factor, point) in enumerate(curve.iterrows()):
            edge = "black" if factor == 1 else "none"
            ax.plot(point.forgetting, point.stability, ms=2.5 + size, mec=edge, **look)
        if intervals:
            _draw_cross(ax, rows[rows.factor == 1], colour, "", x="forgetting", y="stability")


def _draw_cross(
    ax: Axes, seeds: pd.DataFrame, colour: str, marker: str, x: str = "ues", y: str = "tow"
) -> None:
    """The mean of two measures over seeds with both intervals."""
    across, up = seed_interval(seeds[x], x), seed_interval(seeds[y], y)
    look: dict[str, Any] = {"color": colour, "lw": 0.7, "alpha": 0.8}
    ax.plot([across.low, across.high], [up.value, up.value], **look)
    ax.plot([across.value, across.value], [up.low, up.high], **look)
    ax.plot(across.value, up.value, color=colour, marker=marker, ms=4.5)


def _label_contours(ax: Axes, x: Sequence[float], y: Sequence[float]) -> None:
    """The UES of each contour, where it leaves the panel at the right or at the bottom."""
    for level in UES_LEVELS:
        right = level / min(x[1], 1)
        if y[0] < right < 1:
            place, align = (min(x[1], 1), right), "right"
        elif x[0] < level / max(y[0], 1e-9) < 1:
            place, align = (level / y[0], y[0]), "left"
        else:
            continue
        ax.text(*place, f"UES {level:g}", fontsize=6.5, color="0.45", ha=align, va="bottom")
