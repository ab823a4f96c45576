"""The committed figures: what each shows, redrawn from the table it was drawn from."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pandas as pd
import yaml
from matplotlib.figure import Figure

from cure_core.files import atomic_path
from cure_study import figures
from cure_study.data import manifests
from cure_study.data.faceset import FaceSet
from cure_study.data.yaml_files import read_yaml
from cure_study.figures.entries import ENTRIES
from cure_study.run_record import RECORD, check_results, read_record


def adopt(run: Path, folder: Path) -> None:
    """Copy a run's tables into `folder`: those of the figures that such a run makes.

    Raises ValueError for a run that is not of SynthFaces, makes no figure or is damaged, and
    FileNotFoundError for one that lacks a table; then nothing is taken in.
    """
    record = read_record(run / RECORD)
    check_results(run, record)
    dataset, notebook = record.get("parameters", {}).get("dataset"), record.get("notebook")
    if dataset != "synthfaces":
        raise ValueError(
            f"{run} is a run on {dataset!r}; only figures of SynthFaces are kept in figures/"
        )
    made = [n for n, e in ENTRIES.items() if e.made_by == notebook and not e.without_data]
    if not made:
        raise ValueError(f"{run} is a run of {notebook!r}, which makes no figure kept")
    tables = [run / "figures" / f"{name}.csv" for name in made]
    if missing := [path.name for path in tables if not path.is_file()]:
        raise FileNotFoundError(f"{run} has no table {', '.join(missing)}; nothing was taken in")
    for path in tables:
        with atomic_path(folder / path.name) as temporary:
            shutil.copyfile(path, temporary)


def redraw(folder: Path) -> list[Path]:
    """Draw the figures of `folder` anew from their CSVs, and write the index; returns the PNGs.

    A figure whose table or rows no run has made yet is neither drawn nor named in the index.
    Raises ValueError naming a table that cannot be drawn.
    """
    faces = cache(lambda: manifests.load("synthfaces"))
    drawn = {}
    for name, entry in ENTRIES.items():
        table = folder / f"{entry.table or name}.csv"
        if not (entry.without_data or table.is_file()):
            continue
        figure = _figure(name, None if entry.without_data else table, faces)
        if figure is None:
            continue
        figures.save_figure(figure, None, name, folder)
        drawn[name] = {
            "files": [f"figures/{name}.png", f"figures/{name}.svg"],
            "data": None if entry.without_data else f"figures/{table.name}",
            "notebook": entry.notebook,
            "paper": entry.paper,
            "caption": entry.caption,
        }
    with atomic_path(folder / "index.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(drawn, sort_keys=False, width=100), encoding="utf-8")
    return [folder / f"{name}.png" for name in drawn]


def quality_faces() -> FaceSet:
    """The training pictures that notebook 03 shows: those of its profile quick, seed 0."""
    from cure_study.experiments.quality.faces import natural_faces

    path = Path(__file__).parents[2] / "notebooks/profiles/03_quality_aware_forgetting/quick.yaml"
    return natural_faces(read_yaml(path)["dataset_options"], 0)[0]


def _figure(name: str, table: Path | None, faces: Callable[[], FaceSet]) -> Figure | None:
    """A figure; None where its table has nothing to show yet."""
    if name == "framework":
        return figures.draw_framework()
    if table is None:
        return figures.draw_faces(faces())
    try:
        data = pd.read_csv(table)
        return _from_table(name, data, faces) if figures.drawable(name, data) else None
    except OSError:
        raise
    except Exception as error:  # a damaged table can make pandas and matplotlib raise anything
        raise ValueError(
            f"{table} cannot be drawn ({type(error).__name__}: {error}); restore it, or remove it"
        ) from error


def _from_table(name: str, data: pd.DataFrame, faces: Callable[[], FaceSet]) -> Figure:
    if name == "cluster_faces":
        return figures.draw_cluster_faces(data, faces())
    if name == "quality_deciles":
        return figures.draw_quality_deciles(data, quality_faces())
    return figures.draw(name, data)
