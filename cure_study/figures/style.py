"""One style for all figures, the parts that several of them share, and how they are saved."""

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cure_core.files import atomic_path
from cure_core.metrics.intervals import Interval, seed_interval
from cure_study.evaluation.report import save_table

COLUMN, PAGE = 3.5, 7.2  # widths in inches
COLOURS = {"before": "#0072B2", "after": "#D55E00", "oracle": "#009E73"}  # Okabe and Ito
DASHES: dict[str, Any] = {"before": "-", "after": (0, (4, 1.5)), "oracle": (0, (1, 1))}
MARKERS = {"before": "o", "after": "s", "oracle": "D"}
OFFSETS = {"before": -0.22, "after": 0.0, "oracle": 0.22}  # from the middle of a row
MODEL_NAMES = {
    "before": "before unlearning",
    "after": "after unlearning",
    "oracle": "retrained without them (oracle)",
}
SET_NAMES = {"forget": "forgotten people", "retain": "retained people", "test": "unseen people"}
DATASETS = {"synthfaces": "SynthFaces", "redrawn": "redrawn", "lfw": "LFW"}
GREY = "#595959"
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "figure.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.5,
    "figure.dpi": 110,
    "savefig.dpi": 300,
    "svg.hashsalt": "cure",
    "svg.fonttype": "none",
}
in_style = mpl.rc_context(STYLE)  # decorates the functions that draw


class StudyFigure(Figure):
    """A figure that a notebook shows without pyplot, in the study's style; saved at `print_dpi`."""

    print_dpi = 300.0

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with mpl.rc_context(STYLE):
            self.savefig(buffer, format="png", dpi="figure")
        return buffer.getvalue()


def panels(
    rows: int, columns: int, size: tuple[float, float], layout: Any = "constrained", **options: Any
) -> tuple[StudyFigure, np.ndarray]:
    """A figure of `size` inches and its axes (rows, columns); `options` go to `subplots`."""
    figure = StudyFigure(figsize=size, layout=layout)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def label_rows(ax: Axes, labels: Iterable[str], margin: float = 0.5) -> None:
    """A row for each label, from the top."""
    labels = list(labels)
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 1 + margin, -margin)


def models_in(data: pd.DataFrame) -> list[str]:
    """The models that a table has, in their order."""
    return [model for model in COLOURS if model in set(data.model)]


def datasets_in(rows: pd.DataFrame) -> list[str]:
    """The data sets that a table has, SynthFaces first."""
    return sorted(set(rows.dataset), reverse=True)


def draw_model_rows(
    ax: Axes, rows: pd.DataFrame, names: Sequence[str], column: str, *, seeds: bool = True
) -> None:
    """Each model's mean over seeds, in the row of each name of `column`; with `seeds` each small.

    rows: model, seed, value and `column`.
    """
    for model in models_in(rows):
        model_rows = rows[(rows.model == model) & rows.value.notna()]
        if model_rows.empty:
            continue
        look: dict[str, Any] = {"marker": MARKERS[model], "color": COLOURS[model], "ls": ""}
        if seeds:
            y = model_rows[column].map(names.index) + OFFSETS[model]
            ax.plot(model_rows.value, y, ms=2.5, alpha=0.45, **look)
        mean = model_rows.groupby(column).value.mean()
        rows_of = mean.index.map(names.index) + OFFSETS[model]
        ax.plot(mean, rows_of, ms=5, label=MODEL_NAMES[model], **look)


def draw_method_row(
    ax: Axes, y: int, values: pd.Series, measure: str, colour: str, *,
    interval: Callable[[pd.Series, str], Interval] = seed_interval,
    marker: str = "o", filled: bool = True,
) -> None:  # fmt: skip
    """The mean of a method with its interval in row `y`, and below it each seed small."""
    values = values.dropna()
    if values.empty:
        note(ax, "no value", row=y)
        return
    ax.plot(values, np.full(len(values), y + 0.25), ".", ms=2.5, color=colour, alpha=0.6)
    mean, low, high = interval(values, measure)
    ax.plot([low, high], [y, y], color=colour, lw=1.5, alpha=0.7)
    ax.plot(mean, y, marker, ms=4, color=colour, mfc=colour if filled else "white")


def draw_upright(
    ax: Axes, x: np.ndarray, groups: Sequence[pd.Series], interval: Callable[[pd.Series], Interval],
    colour: str,
) -> np.ndarray:  # fmt: skip
    """The interval of each group at its place in `x`, and each seed small; returns the means."""
    means, low, high = np.transpose([interval(values) for values in groups])
    ax.vlines(x, low, high, color=colour, lw=1)
    for at, values in zip(x, groups, strict=True):
        ax.plot(np.full(len(values), at), values, ".", ms=2.5, color=colour, alpha=0.6)
    return means


def note(ax: Axes, text: str, row: float | None = None) -> None:
    """A text in the middle of a panel that has nothing to show, or of one row of it."""
    if row is None:
        place: dict[str, Any] = {"y": 0.5, "transform": ax.transAxes}
    else:
        place = {"y": row, "transform": ax.get_yaxis_transform(), "fontsize": 5.5}
    ax.text(0.5, s=text, ha="center", va="center", color=GREY, **place)


def note_missing(ax: Axes, missing: Sequence[str]) -> None:
    """In a corner of a panel, the names of the lines for which there is no value."""
    if missing:
        style: dict[str, Any] = {"color": GREY, "fontsize": 5.5, "transform": ax.transAxes}
        ax.text(0.98, 0.02, "no value: " + ", ".join(missing), ha="right", va="bottom", **style)


def shared_legend(
    figure: Figure, columns: int, order: Iterable[str] = (), extra: Iterable[Artist] = (),
    **style: Any,
) -> None:  # fmt: skip
    """One legend for all panels: each label once, those of `order` first, `extra` handles last."""
    keys: dict[str, Any] = {}
    for ax in figure.get_axes():
        handles, labels = ax.get_legend_handles_labels()
        keys.update(zip(labels, handles, strict=True))
    keys.update({str(handle.get_label()): handle for handle in extra})
    labels = list(dict.fromkeys([*(label for label in order if label in keys), *keys]))
    style = {"loc": "outside upper center", **style}
    figure.legend([keys[label] for label in labels], labels, ncols=columns, **style)


def save_figure(figure: Figure, data: pd.DataFrame | None, name: str, folder: str | Path) -> None:
    """Write a figure as PNG and SVG with the CSV it was drawn from, each whole or not at all."""
    folder = Path(folder)
    if data is not None:
        save_table(data, folder / f"{name}.csv")
    with mpl.rc_context(STYLE):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # a second pass would move everything by a hair
        for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None})):
            with atomic_path(folder / f"{name}{suffix}") as temporary:
                dpi = getattr(figure, "print_dpi", StudyFigure.print_dpi)
                figure.savefig(temporary, metadata=metadata, dpi=dpi)
