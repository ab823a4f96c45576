"""One style for all figures, and how they are shown and saved."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cure_core.files import atomic_path
from cure_study.evaluation.report import save_table

COLUMN, PAGE = 3.5, 7.2  # widths in inches
COLOURS = {"before": "#0072B2", "after": "#D55E00", "oracle": "#009E73"}  # Okabe and Ito
DASHES = {"before": "", "after": (4, 1.5), "oracle": (1, 1)}
MARKERS = {"before": "o", "after": "s", "oracle": "D"}
SET_NAMES = {"forget": "forgotten people", "retain": "retained people", "test": "unseen people"}
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
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


def note(ax: Axes, text: str) -> None:
    """A word in the middle of a panel that has nothing to show."""
    ax.text(0.5, 0.5, text, ha="center", va="center", color="#595959", transform=ax.transAxes)


def note_row(ax: Axes, y: float, text: str = "no value") -> None:
    """A word in place of what a row of a panel lacks."""
    across = ax.get_yaxis_transform()
    ax.text(0.5, y, text, ha="center", va="center", color="#595959", fontsize=5.5, transform=across)


def note_missing(ax: Axes, missing: Sequence[str]) -> None:
    """In a corner of a panel, the names of the lines for which there is no value."""
    if missing:
        text = "no value: " + ", ".join(missing)
        style: dict[str, Any] = {"color": "#595959", "fontsize": 5.5, "transform": ax.transAxes}
        ax.text(0.98, 0.02, text, ha="right", va="bottom", **style)


def legend_keys(axes: Iterable[Axes], order: Iterable[str] = ()) -> dict[str, Artist]:
    """Handle by label of all that any panel shows, those of `order` first."""
    keys: dict[str, Artist] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            keys[label] = handle
    labels = [label for label in order if label in keys]
    return {label: keys[label] for label in dict.fromkeys([*labels, *keys])}


class Picture(Figure):
    """A figure that a notebook shows without pyplot, in the study's style; saved at `print_dpi`."""

    print_dpi = 300.0

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with mpl.rc_context(STYLE):
            self.savefig(buffer, format="png", dpi="figure")
        return buffer.getvalue()


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
                dpi = getattr(figure, "print_dpi", Picture.print_dpi)
                figure.savefig(temporary, metadata=metadata, dpi=dpi)
