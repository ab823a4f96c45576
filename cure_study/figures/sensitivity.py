"""UES as one setting at a time leaves its default: K, tau, temperature, target map."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from cure_study.figures import style

LOOKS = {"cure_plus": ("#D55E00", "s", "--"), "cure": ("#0072B2", "o", "-")}
PANELS = {
    "forget clusters": "forget clusters,\nas multiples of auto's",
    "retain clusters": "retain clusters,\nas multiples of auto's",
    "tau": "tau, epochs\n(0: never)",
    "temperature": "temperature",
    "target map": "target map",
}


@style.in_style
def draw_sensitivity(data: pd.DataFrame) -> Figure:
    """UES over each factor of the sweep, a panel a factor: the mean large, each seed small.

    seed, method, factor, value, tau, temperature, ues (`sweep.sweep`). A factor that has no effect
    in a method has no runs of it.
    """
    widths = [1.9, *[1] * (len(PANELS) - 1)]  # the first has the most ticks
    figure, axes = style.panels(1, len(PANELS), (style.PAGE, 2.6), sharey=True, width_ratios=widths)
    for ax, (factor, label) in zip(axes[0], PANELS.items(), strict=True):
        for method in LOOKS:
            _draw_line(ax, data[data.method == method], factor, method)
        if ax.lines:
            _set_ticks(ax, factor)
        else:
            style.note(ax, "not run")
            ax.set_xticks([])
        ax.set_xlabel(label)
    axes[0, 0].set_ylabel("UES (CURE)")
    axes[0, 0].set_ylim(bottom=0)
    style.shared_legend(figure, 2)
    return figure


def _draw_line(ax: Axes, rows: pd.DataFrame, factor: str, method: str) -> None:
    """The seeds on which the factor varies, with their runs at the default."""
    varied = rows[rows.factor == factor]
    if varied.ues.isna().all():
        return
    base = rows[(rows.factor == "base") & rows.seed.isin(varied.seed)]
    if factor in ("tau", "temperature"):
        default = base[factor].astype(float)
    else:
        default = pd.Series(0.0 if factor == "target map" else 1.0, base.index)
    steps = pd.Series(1.0, varied.index) if factor == "target map" else varied.value
    x = pd.concat([default, steps.astype(float)])
    ues = pd.concat([base, varied]).ues
    colour, marker, dashes = LOOKS[method]
    ax.plot(x, ues, ls="", marker=marker, ms=2.5, alpha=0.45, color=colour)
    mean = ues.groupby(x).mean()
    ax.plot(mean.index, mean, ls=dashes, marker=marker, lw=1, ms=4.5, color=colour, label=method)
    if len(default):
        ax.axvline(default.iloc[0], color="0.2", lw=0.9, ls=":")


def _set_ticks(ax: Axes, factor: str) -> None:
    if factor == "target map":
        ax.set_xticks([0, 1], ["farthest", "one to one"])
        ax.set_xlim(-0.6, 1.6)
    elif factor == "tau":
        ax.xaxis.set_major_locator(FixedLocator([0, 1, 5]))
    else:
        ax.set_xscale("log")
        lines = [line.get_xdata() for line in ax.lines if line.get_label() in LOOKS]
        ticks = np.unique(np.concatenate(lines))
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.xaxis.set_minor_locator(NullLocator())
