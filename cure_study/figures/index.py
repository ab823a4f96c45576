"""The committed figures: `figures/index.yaml` says what each shows; they are drawn from it."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from cure_study import figures
from cure_study.data import manifests
from cure_study.data.faceset import FaceSet
from cure_study.data.yaml_files import read_yaml

ROOT = Path(__file__).parents[2]
INDEX = ROOT / "figures" / "index.yaml"
QUALITY_PROFILE = ROOT / "notebooks/profiles/03_quality_aware_forgetting/quick.yaml"


def tables_made_by(run: str) -> list[str]:
    """The file names of the tables that a run of this name makes: `made_by`, or the notebook."""
    return [
        Path(entry["data"]).name
        for entry in read_yaml(INDEX).values()
        if entry["data"] and run == entry.get("made_by", Path(entry["notebook"]).stem)
    ]


def redraw(folder: Path) -> list[Path]:
    """Draw every figure of the index whose table is in `folder`; returns the PNGs.

    A figure whose table or rows no run has made yet is left out. Raises ValueError naming a table
    that cannot be drawn.
    """
    faces = cache(lambda: manifests.load("synthfaces"))
    drawn = []
    for name, entry in read_yaml(INDEX).items():
        figure = _figure(name, entry, folder, faces)
        if figure is not None:
            figures.save_figure(figure, None, name, folder)
            drawn.append(folder / f"{name}.png")
    return drawn


def _figure(
    name: str, entry: dict[str, Any], folder: Path, faces: Callable[[], FaceSet]
) -> Figure | None:
    if name == "framework":
        return figures.draw_framework()
    if name == "faces":
        return figures.draw_faces(faces())
    table = folder / Path(entry["data"]).name
    return figure_from_table(name, table, faces) if table.is_file() else None


def figure_from_table(name: str, table: Path, faces: Callable[[], FaceSet]) -> Figure | None:
    """A figure from its CSV; None if the table has nothing to show yet.

    Raises ValueError naming a table that cannot be drawn.
    """
    try:
        data = pd.read_csv(table)
        if not figures.drawable(name, data):
            return None
        if name == "cluster_faces":
            return figures.draw_cluster_faces(data, faces())
        if name == "quality_deciles":
            return figures.draw_quality_deciles(data, quality_faces())
        return figures.draw(name, data)
    except OSError:
        raise
    except Exception as error:  # a damaged table can make pandas and matplotlib raise anything
        raise ValueError(
            f"{table} cannot be drawn ({type(error).__name__}: {error}); restore it, or remove it"
        ) from error


def quality_faces() -> FaceSet:
    """The training images that notebook 03 shows: those of its profile quick, seed 0."""
    from cure_study.experiments.quality.faces import natural_faces

    return natural_faces(read_yaml(QUALITY_PROFILE)["dataset_options"], 0)[0]
