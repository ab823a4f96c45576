"""The attacks on each method's student of the comparison, with the teacher and the oracle."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cure_study.experiments.comparison.methods import LABELS, competitors
from cure_study.figures import style
from cure_study.figures.comparison import method_legend, method_rows

ATTACKS = {
    "told_apart_auc": ("detection of the\nforgotten (AUC)", None),
    "linear_map_rank1_old_gallery": (
        "old gallery, linear\nmap (rank-1)",
        "as_it_is_rank1_old_gallery",
    ),
    "few_shot_fresh_rank1_1": ("re-enrolled by one\nnew image (rank-1)", None),
    "relearning_3_accuracy": (
        "relearned on three\nimages (accuracy)",
        "relearning_3_accuracy_before",
    ),
    "collateral_spearman": ("similar people move\nmore (Spearman)", None),
}  # a column of the table: its label, and the column of its value before the attack
LIMITS = {"relearning_3_accuracy": (0.47, 1.03), "collateral_spearman": (-1.05, 1.05)}
LINES = {"oracle": (style.COLOURS["oracle"], ":", 1.0), "teacher": ("black", "--", 0.8)}


@style.in_style
def draw_attacks_by_method(rows: pd.DataFrame) -> Figure:
    """Five attacks on each method's student: means with 95 % intervals, and each seed small.

    Of the erasers; a line of panels a data set. Vertical lines are the oracle's and the teacher's
    means; hollow is the value before an attack that maps or trains the student.
    """
    datasets = style.datasets_in(rows)
    methods = competitors(rows.method)
    size = (style.PAGE, len(datasets) * (0.19 * len(methods) + 0.65) + 0.6)
    figure, axes = style.panels(len(datasets), len(ATTACKS), size, sharex="col", sharey=True)
    style.label_rows(axes[0, 0], [LABELS[method] for method in methods], margin=0.6)
    for line, dataset in zip(axes, datasets, strict=True):
        case = rows[rows.dataset == dataset]
        title = f"{style.DATASETS[dataset]}, n = {case.seed.nunique()}"
        line[0].set_title(title, loc="left", weight="bold")
        for ax, name in zip(line, ATTACKS, strict=True):
            _draw_attack(ax, case, name, methods)
    for ax, (name, (label, _)) in zip(axes[-1], ATTACKS.items(), strict=True):
        ax.set(xlabel=label, xlim=LIMITS.get(name, (-0.03, 1.03)))
    look: dict[str, Any] = {"ls": "", "marker": "o", "mfc": "white", "color": style.GREY, "ms": 4}
    references = [
        Line2D([], [], color=colour, lw=width, ls=dashes, label=reference)
        for reference, (colour, dashes, width) in LINES.items()
    ]
    method_legend(figure, methods, *references, Line2D([], [], label="before the attack", **look))
    return figure


def _draw_attack(ax: Axes, case: pd.DataFrame, name: str, methods: list[str]) -> None:
    before = ATTACKS[name][1]
    for y, seeds, colour in method_rows(case, methods):
        if before is not None:
            ax.plot(seeds[before].mean(), y, "o", ms=4, color=colour, mfc="white")
        style.draw_method_row(ax, y, seeds[name], name, colour)
    for reference, (colour, dashes, width) in LINES.items():
        value = case[case.method == reference][name].mean()
        if pd.notna(value):
            ax.axvline(value, color=colour, lw=width, ls=dashes)
