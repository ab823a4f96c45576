"""UES as one setting at a time leaves its default: K, tau, temperature, target map."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cure_core.metrics.intervals import seed_interval
from cure_study.experiments.comparison.methods import LABELS
from cure_study.figures import style
from cure_study.figures.comparison import OUR_LOOKS

METHODS = ("cure", "cure_plus")
SHIFTS = {"cure": -0.09, "cure_plus": 0.09}  # so that two intervals do not cover each other
PANELS = {
    "forget clusters": "forget clusters, as a multiple\nof the number chosen",
    "retain clusters": "retain clusters,\nas a multiple",
    "tau": "tau, epochs per\ncentroid update",
    "temperature": "temperature",
    "target map": "target map",
}
NAMES = {
    ("tau", 0.0): "never",
    ("target map", 0.0): "far-\nthest",
    ("target map", 1.0): "one to\none",
}


@style.in_style
def draw_sensitivity(data: pd.DataFrame) -> Figure:
    """UES over each factor of the sweep, a panel a factor: interval over seeds, each seed small.

    seed, method, factor, value, tau, temperature, ues (`sweep.sweep`). The values of a factor are
    evenly spaced, the default dotted. "never" stands apart at the end, joined to nothing. A factor
    that has no effect in a method has no runs of it.
    """
    widths = [1.7, 1, 1, 1, 0.8]  # the first has the most values
    figure, axes = style.panels(1, len(PANELS), (style.PAGE, 2.6), sharey=True, width_ratios=widths)
    for ax, (factor, label) in zip(axes[0], PANELS.items(), strict=True):
        lines = {method: _line(data[data.method == method], factor) for method in METHODS}
        values = sorted(
            {x for line in lines.values() for x in line.x}, key=lambda x: _place(factor, x)
        )
        for method, line in lines.items():
            _draw_line(ax, line, values, method, joined=factor != "target map")
        if values:
            ax.set_xticks(range(len(values)), [NAMES.get((factor, x), f"{x:g}") for x in values])
            ax.set_xlim(-0.5, len(values) - 0.5)
            default = 0.0 if factor == "target map" else _default(data, factor)
            if default in values:
                ax.axvline(values.index(default), color="0.2", lw=0.9, ls=":")
        else:
            style.note(ax, "not run")
            ax.set_xticks([])
        ax.set_xlabel(label)
    axes[0, 0].set(ylabel="UES (CURE)", ylim=(0, 1))
    style.shared_legend(figure, 2)
    return figure


def _place(factor: str, value: float) -> float:
    """Where a value stands among the others: never is the longest time between two updates."""
    return np.inf if (factor, value) == ("tau", 0.0) else value


def _default(data: pd.DataFrame, factor: str) -> float:
    base = data[data.factor == "base"]
    return float(base[factor].iloc[0]) if factor in ("tau", "temperature") and len(base) else 1.0


def _line(rows: pd.DataFrame, factor: str) -> pd.DataFrame:
    """x and ues of the seeds on which the factor varies, with their runs at the default."""
    varied = rows[rows.factor == factor]
    if varied.ues.isna().all():
        return pd.DataFrame({"x": [], "ues": []})
    base = rows[(rows.factor == "base") & rows.seed.isin(varied.seed)]
    if factor == "target map":
        x = [0.0] * len(base) + [1.0] * len(varied)
    elif factor in ("tau", "temperature"):
        x = [*base[factor].astype(float), *varied.value.astype(float)]
    else:
        x = [1.0] * len(base) + list(varied.value.astype(float))
    return pd.DataFrame({"x": x, "ues": [*base.ues, *varied.ues]}).dropna()


def _draw_line(
    ax: Axes, line: pd.DataFrame, values: list[float], method: str, joined: bool
) -> None:
    if line.empty:
        return
    colour, marker = OUR_LOOKS[method]
    groups = {x: group.ues for x, group in line.groupby("x")}
    shown = [x for x in values if x in groups]
    place = np.array([values.index(x) for x in shown]) + SHIFTS[method]
    seeds = [groups[x] for x in shown]
    means = style.draw_upright(ax, place, seeds, partial(seed_interval, measure="ues"), colour)
    ax.plot(place, means, ls="", marker=marker, ms=4.5, color=colour, label=LABELS[method])
    if joined:
        kept = np.array(shown) != 0  # 0 is never
        ax.plot(place[kept], means[kept], color=colour, lw=1)
