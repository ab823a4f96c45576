"""Sheets of drawn faces; any other data set is refused."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cure_study.data.faceset import FaceSet
from cure_study.figures.style import PAGE, STYLE, Picture


def draw_faces(faces: FaceSet, people: int = 6, captures: int = 9) -> Figure:
    """A contact sheet of drawn faces, a row a person. Raises ValueError for any other data set."""
    only_drawn(faces)
    shown = [np.flatnonzero(faces.identities == p)[:captures] for p in range(people)]
    sheet = np.concatenate([np.concatenate(list(faces.images[row]), axis=1) for row in shown])
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE, PAGE * sheet.shape[0] / sheet.shape[1]))
        figure.print_dpi = sheet.shape[1] / PAGE  # a pixel of the sheet is a pixel of the file
        ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        ax.imshow(sheet, interpolation="none")
        ax.set_axis_off()
    return figure


def draw_cluster_faces(data: pd.DataFrame, faces: FaceSet, clusters: int = 6) -> Figure:
    """The faces nearest to their centroid beside those farthest from it, a row a cluster.

    `data`: cluster, kind ("nearest" or "farthest"), rank, image (an index into `faces`), distance.
    Raises ValueError for any data set but SynthFaces.
    """
    only_drawn(faces)
    each = int(data["rank"].max()) + 1
    numbers = sorted(data.cluster.unique())[:clusters]
    with mpl.rc_context(STYLE):
        height = len(numbers) * PAGE / (2 * each + 1) * 1.22 + 0.35
        figure = Picture(figsize=(PAGE, height))
        grid = figure.add_gridspec(
            len(numbers), 2 * each + 1, width_ratios=[*[1] * each, 0.35, *[1] * each],
            left=0.045, right=0.995, bottom=0.01, top=1 - 0.36 / height, wspace=0.04, hspace=0.26,
        )  # fmt: skip
        for row, number in enumerate(numbers):
            own = data[data.cluster == number]
            for line in own.itertuples():
                column = int(line.rank) + (0 if line.kind == "nearest" else each + 1)
                ax = figure.add_subplot(grid[row, column])
                ax.imshow(faces.images[int(line.image)])
                ax.set_xticks([])
                ax.set_yticks([])
                ax.grid(False)
                ax.set_title(f"{line.distance:.2f}", fontsize=6, pad=1.5)
                ax.spines[:].set_visible(False)
                if column == 0:
                    ax.set_ylabel(f"{number}", rotation=0, labelpad=7, va="center")
        for kind, at in (("nearest to the centroid", 0.26), ("farthest from it", 0.77)):
            figure.text(at, 0.995, kind, ha="center", va="top", fontsize=8)
    return figure


def only_drawn(faces: FaceSet) -> None:
    """ValueError for any set but SynthFaces: only drawn faces are shown in figures."""
    if faces.name != "synthfaces":
        raise ValueError(f"only SynthFaces are shown in figures, not {faces.name!r}")
