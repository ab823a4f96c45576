"""What a sceptic finds of each method's student, beside the teacher and the oracle."""

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cure_core.metrics.intervals import seed_interval
from cure_study.experiments.comparison.methods import BASELINES
from cure_study.figures.comparison import mark_interval, method_colour, method_legend
from cure_study.figures.style import COLOURS, PAGE, STYLE, Picture, note_row

TRIED = {
    "told_apart_auc": ("forgotten told from\nstrangers (AUC)", None),
    "linear_map_rank1_old_gallery": (
        "old gallery searched\n(rank-1)",
        "as_it_is_rank1_old_gallery",
    ),
    "few_shot_fresh_rank1_1": ("enrolled by one new\npicture (rank-1)", None),
    "relearning_3_accuracy": (
        "relearnt on three\npictures (accuracy)",
        "relearning_3_accuracy_before",
    ),
    "collateral_spearman": ("the near ones move\nmore (Spearman)", None),
}  # a column of the table: its label, and what it was before the attacker's work


def draw_attacked(rows: pd.DataFrame) -> Figure:
    """Five attacks on each method's student: means with 95 % intervals, and each seed small.

    A line a data set.

    Vertical lines are the oracle's and the teacher's means; hollow, where an attack takes work, is
    what it starts from.
    """
    datasets = sorted(dict.fromkeys(rows.dataset), reverse=True)
    methods = [m for m in dict.fromkeys(rows.method) if m not in BASELINES]
    with mpl.rc_context(STYLE):
        height = len(datasets) * (0.19 * len(methods) + 0.65) + 0.6
        figure = Picture(figsize=(PAGE, height), layout="constrained")
        axes = figure.subplots(len(datasets), len(TRIED), sharex="col", sharey=True, squeeze=False)
        axes[0, 0].set_yticks(range(len(methods)), methods)
        axes[0, 0].set_ylim(len(methods) - 0.4, -0.6)
        for line, dataset in zip(axes, datasets, strict=True):
            own = rows[rows.dataset == dataset]
            line[0].set_title(f"{dataset}, n = {own.seed.nunique()}", loc="left", weight="bold")
            for ax, name in zip(line, TRIED, strict=True):
                _panel(ax, own, name, methods)
        for ax, (name, (label, _)) in zip(axes[-1], TRIED.items(), strict=True):
            ax.set_xlabel(label)
            low = {"relearning_3_accuracy": 0.47, "collateral_spearman": -1.05}.get(name, -0.03)
            ax.set_xlim(low, 1.05 if name == "collateral_spearman" else 1.03)
        style: dict[str, Any] = {"ls": "", "marker": "o", "mfc": "white", "color": "#595959"}
        method_legend(
            figure,
            methods,
            Line2D([], [], color=COLOURS["oracle"], lw=1, ls=":", label="oracle"),
            Line2D([], [], color="black", lw=0.8, ls="--", label="teacher"),
            Line2D([], [], label="before the attacker's work", ms=4, **style),
        )
    return figure


def _panel(ax: Axes, rows: pd.DataFrame, name: str, methods: list[str]) -> None:
    _, before = TRIED[name]
    for y, method in enumerate(methods):
        own, colour = rows[rows.method == method], method_colour(method)
        if own.empty:  # not attacked yet on this data set
            continue
        if before is not None:
            ax.plot(own[before].mean(), y, "o", ms=4, color=colour, mfc="white")
        values = own[name].dropna()
        if values.empty:
            note_row(ax, y)
            continue
        ax.plot(values, np.full(len(values), y + 0.25), ".", ms=2.5, color=colour, alpha=0.6)
        mark_interval(ax, y, seed_interval(values, name), colour, colour)
    for reference, line, colour in (("oracle", ":", COLOURS["oracle"]), ("teacher", "--", "black")):
        value = rows[rows.method == reference][name].mean()
        if pd.notna(value):
            ax.axvline(value, color=colour, lw=1, ls=line)
