"""Sheets of synthetic faces; faces of real people are refused."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cure_study.data.faceset import FaceSet
from cure_study.figures import style


def require_synthetic(faces: FaceSet) -> None:
    """ValueError for any data set but SynthFaces: figures show no real person's face."""
    if faces.name != "synthfaces":
        raise ValueError(f"only SynthFaces are shown in figures, not {faces.name!r}")


@style.in_style
def draw_faces(faces: FaceSet, people: int = 6, captures: int = 9) -> Figure:
    """A contact sheet of synthetic faces, a row a person. Raises ValueError for other data sets."""
    require_synthetic(faces)
    sheet = _sheet(faces, (np.flatnonzero(faces.identities == p)[:captures] for p in range(people)))
    figure = style.StudyFigure(figsize=(style.PAGE, style.PAGE * sheet.shape[0] / sheet.shape[1]))
    figure.print_dpi = sheet.shape[1] / style.PAGE  # a pixel of the sheet is a pixel of the file
    ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    ax.imshow(sheet, interpolation="none")
    ax.set_axis_off()
    return figure


@style.in_style
def draw_cluster_faces(data: pd.DataFrame, faces: FaceSet, clusters: int = 6) -> Figure:
    """The faces nearest to their centroid and those farthest from it, a row a cluster.

    `data`: cluster, kind ("nearest" or "farthest"), rank, image (an index into `faces`), distance.
    Raises ValueError for any data set but SynthFaces.
    """
    require_synthetic(faces)
    each = int(data["rank"].max()) + 1
    numbers = sorted(data.cluster.unique())[:clusters]
    height = len(numbers) * style.PAGE / (2 * each + 1) * 1.22 + 0.35
    figure = style.StudyFigure(figsize=(style.PAGE, height))
    grid = figure.add_gridspec(
        len(numbers), 2 * each + 1, width_ratios=[*[1] * each, 0.35, *[1] * each],
        left=0.045, right=0.995, bottom=0.01, top=1 - 0.36 / height, wspace=0.04, hspace=0.26,
    )  # fmt: skip
    for row, number in enumerate(numbers):
        for face in data[data.cluster == number].itertuples():
            column = int(face.rank) + (0 if face.kind == "nearest" else each + 1)
            ax = figure.add_subplot(grid[row, column])
            ax.imshow(faces.images[int(face.image)])
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
            ax.set_title(f"{face.distance:.2f}", fontsize=6, pad=1.5)
            ax.spines[:].set_visible(False)
            if column == 0:
                ax.set_ylabel(f"{number}", rotation=0, labelpad=7, va="center")
    for kind, x in (("nearest to the centroid", 0.26), ("farthest from it", 0.77)):
        figure.text(x, 0.995, kind, ha="center", va="top", fontsize=8)
    return figure


@style.in_style
def draw_quality_deciles(data: pd.DataFrame, faces: FaceSet) -> Figure:
    """A contact sheet, a row a decile of quality, the lowest on top: decile, place, image.

    `image` indexes `faces`. Raises ValueError for any data set but SynthFaces.
    """
    require_synthetic(faces)
    rows = [tenth.sort_values("place").image for _, tenth in data.groupby("decile")]
    sheet = _sheet(faces, rows)
    width = style.PAGE - 0.5
    figure = style.StudyFigure(figsize=(style.PAGE, width * sheet.shape[0] / sheet.shape[1]))
    ax = figure.add_axes((0.5 / style.PAGE, 0.0, width / style.PAGE, 1.0))
    ax.imshow(sheet, interpolation="none", aspect="auto")
    ax.grid(False)
    ax.set_xticks([])
    middles = faces.images.shape[1] * (np.arange(len(rows)) + 0.5)
    ax.set_yticks(middles, [f"{i + 1}" for i in range(len(rows))])
    ax.set_ylabel("decile of quality (1 poorest)")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return figure


def decile_table(scores: np.ndarray, columns: int = 10, seed: int = 0) -> pd.DataFrame:
    """Images drawn at random from each tenth of the scores: decile, place, image."""
    rng = np.random.default_rng(seed)
    tenths = np.array_split(np.argsort(scores, kind="stable"), 10)
    rows = [
        {"decile": number, "place": place, "image": int(image)}
        for number, tenth in enumerate(tenths)
        for place, image in enumerate(rng.choice(tenth, min(columns, len(tenth)), replace=False))
    ]
    return pd.DataFrame(rows)


def _sheet(faces: FaceSet, rows: Iterable[Iterable[int]]) -> np.ndarray:
    """The named images, each row from left to right: uint8 (height, width, 3)."""
    return np.concatenate(
        [np.concatenate([faces.images[int(image)] for image in row], axis=1) for row in rows]
    )
