"""Copying a run's tables into `figures/`, where the committed figures are drawn from them."""

import shutil
from pathlib import Path

from cure_core.files import atomic_path
from cure_study.figures.index import tables_made_by
from cure_study.run_record import RECORD, check_results, read_record


def adopt(run: Path, folder: Path) -> None:
    """Copy a run's tables into `folder`: those of the figures that such a run makes.

    Raises ValueError for a run that is not of SynthFaces, makes no figure or is damaged, and
    FileNotFoundError for one that lacks a table; then nothing is copied.
    """
    record = read_record(run / RECORD)
    check_results(run, record)
    dataset, notebook = record.get("parameters", {}).get("dataset"), str(record.get("notebook"))
    if dataset != "synthfaces":
        raise ValueError(
            f"{run} is a run on {dataset!r}; only figures of SynthFaces are kept in figures/"
        )
    tables = [run / "figures" / name for name in tables_made_by(notebook)]
    if not tables:
        raise ValueError(f"{run} is a run of {notebook!r}, which makes no figure kept")
    if missing := [path.name for path in tables if not path.is_file()]:
        raise FileNotFoundError(f"{run} has no table {', '.join(missing)}; nothing was copied")
    for path in tables:
        with atomic_path(folder / path.name) as temporary:
            shutil.copyfile(path, temporary)
