"""The score over what was chosen: K, tau, temperature, target map."""

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cure_study.figures.style import PAGE, STYLE, Picture, legend_keys, note

LOOKS = {"cure_plus": ("#D55E00", "s", "--"), "cure": ("#0072B2", "o", "-")}
PANELS = {
    "forget clusters": "forget clusters,\nas multiples of auto's",
    "retain clusters": "retain clusters,\nas multiples of auto's",
    "tau": "tau, epochs\n(0: never)",
    "temperature": "temperature",
    "target map": "target map",
}


def draw_sensitivity(data: pd.DataFrame) -> Figure:
    """UES over each factor of the sweep, a panel a factor: the mean large, each seed small.

    seed, method, factor, value, tau, temperature, ues (`sweep.sweep`). A factor that does not act
    in a method has no runs of it.
    """
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE, 2.6), layout="constrained")
        widths = [1.9, *[1] * (len(PANELS) - 1)]  # the first has the most ticks
        axes = figure.subplots(1, len(PANELS), sharey=True, width_ratios=widths)
        for ax, (factor, label) in zip(axes, PANELS.items(), strict=True):
            for method in LOOKS:
                _line(ax, data[data.method == method], factor, method)
            if not ax.lines:
                note(ax, "not run")
                ax.set_xticks([])
            else:
                _places(ax, factor)
            ax.set_xlabel(label)
        axes[0].set_ylabel("UES (CURE)")
        axes[0].set_ylim(bottom=0)
        keys = legend_keys(axes)
        place: dict[str, Any] = {"loc": "outside upper center", "ncols": 2, "frameon": False}
        figure.legend(keys.values(), keys.keys(), **place)
    return figure


def _line(ax: Axes, own: pd.DataFrame, factor: str, method: str) -> None:
    """The seeds that have departures, with their runs at the default."""
    departed = own[own.factor == factor]
    if departed.ues.isna().all():
        return
    base = own[(own.factor == "base") & own.seed.isin(departed.seed)]
    if factor in ("tau", "temperature"):
        default = base[factor].astype(float)
    else:
        default = pd.Series(0.0 if factor == "target map" else 1.0, base.index)
    steps = pd.Series(1.0, departed.index) if factor == "target map" else departed.value
    at = pd.concat([default, steps.astype(float)])
    ues = pd.concat([base, departed]).ues
    colour, marker, dashes = LOOKS[method]
    ax.plot(at, ues, ls="", marker=marker, ms=2.5, alpha=0.45, color=colour)
    mean = ues.groupby(at).mean()
    ax.plot(mean.index, mean, ls=dashes, marker=marker, lw=1, ms=4.5, color=colour, label=method)
    if len(default):
        ax.axvline(default.iloc[0], color="0.2", lw=0.9, ls=":")


def _places(ax: Axes, factor: str) -> None:
    if factor == "target map":
        ax.set_xticks([0, 1], ["farthest", "one to one"])
        ax.set_xlim(-0.6, 1.6)
    elif factor == "tau":
        ax.xaxis.set_major_locator(mpl.ticker.FixedLocator([0, 1, 5]))
    else:
        ax.set_xscale("log")
        ticks = np.unique(
            np.concatenate([line.get_xdata() for line in ax.lines if line.get_label() in LOOKS])
        )
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.xaxis.set_minor_locator(mpl.ticker.NullLocator())
