"""Requests one after another against the same at once: who stays forgotten, what others lose."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cure_core.metrics.intervals import seed_interval
from cure_study.figures import style

# (label, arm, marker, colour, offset)
STAGES = {
    "before": ("before", "in a row", "o", style.COLOURS["before"], -0.27),
    "own": ("after its own request", "in a row", "s", style.COLOURS["after"], -0.09),
    "last": ("after all ten in a row", "in a row", "D", "#7a4a00", 0.09),
    "once": ("all ten at once", "at once", "^", style.COLOURS["oracle"], 0.27),
}


@style.in_style
def draw_requests_in_a_row(data: pd.DataFrame) -> Figure:
    """Accuracy on each person who asked, and on those who stay: seeds small, mean and interval.

    seed, arm, done, request (0: the people who stay), accuracy (`erasure.sequence.run`).
    """
    widths = {"width_ratios": [1.7, 1]}
    figure, axes = style.panels(1, 2, (style.PAGE, 2.8), sharey=True, **widths)
    asked, staying = data[data.request > 0], data[data.request == 0]
    requests = sorted(asked.request.unique())
    for stage, (label, arm, marker, colour, shift) in STAGES.items():
        rows = asked[asked.arm == arm]
        rows = rows[rows.done == _when(stage, rows)]
        groups = {n: rows.accuracy[rows.request == n] for n in requests}
        _draw(axes[0, 0], groups, shift, colour, marker, label)
    for arm, stage in (("in a row", "last"), ("at once", "once")):
        _, _, marker, colour, shift = STAGES[stage]
        rows = staying[staying.arm == arm]
        groups = {n: rows.accuracy[rows.done == n] for n in sorted(rows.done.unique())}
        _draw(axes[0, 1], groups, shift, colour, marker, "")
    axes[0, 0].axhline(0.5, color="0.3", lw=0.8, ls=":")
    axes[0, 0].set(xlabel="request, in order", title="the person who asked", xticks=requests)
    axes[0, 1].set(xlabel="requests done", title="people who stay", xticks=[0, *requests])
    axes[0, 0].set(ylabel="accuracy (0.5 is chance)", ylim=(0.35, 1.02))
    style.shared_legend(figure, 4)
    return figure


def _when(stage: str, rows: pd.DataFrame) -> pd.Series | int:
    """After how many requests a stage of each row's request is looked at."""
    if stage == "own":
        return rows.request
    return 0 if stage == "before" else int(rows.done.max())


def _draw(
    ax: Axes, groups: dict[int, pd.Series], shift: float, colour: str, marker: str, label: str
) -> None:
    groups = {place: values for place, values in groups.items() if len(values)}
    if not groups:
        return
    x = np.array(list(groups)) + shift
    interval = partial(seed_interval, measure="accuracy")
    means = style.draw_upright(ax, x, list(groups.values()), interval, colour)
    ax.plot(x, means, marker, ms=4, color=colour, label=label or None)
