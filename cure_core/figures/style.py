"""One style for all figures, and how they are shown and saved."""

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from cure_core.files import atomic_path
from cure_core.report import save_table

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
