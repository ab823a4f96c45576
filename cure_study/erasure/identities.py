"""Who is on which image, where that is known: for the measures alone, never for the unlearning."""

from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from cure_core.checks import nearest
from cure_study.data.text import normal_name
from cure_study.erasure.images import ImageFolder
from cure_study.erasure.setting import FOLDERS, NO_IDENTITIES

FILE_COLUMNS = ("file", "path", "filename", "image")
PERSON_COLUMNS = ("identity", "person", "name", "label", "id")


def read_identities(given: str, folder: ImageFolder) -> np.ndarray | None:
    """The name of the person on each image (N,), as text; None for "none".

    "folders" takes the folder that an image lies in; anything else is the path of a CSV with a
    column of files (relative to the images' folder) and one of people. Raises ValueError if an
    image has no person, or all the same; FileNotFoundError for a missing CSV.
    """
    if given == NO_IDENTITIES:
        return None
    names = _of_folders(folder) if given == FOLDERS else _of_table(Path(given), folder)
    if len(set(names)) < 2:
        raise ValueError(
            f"identities={given!r} gives every image of {folder.root} the same person; "
            "use identities='none' if people are not known"
        )
    return np.array(names)


def _of_folders(folder: ImageFolder) -> list[str]:
    parents = [str(PurePosixPath(file).parent) for file in folder.files]
    if loose := [file for file, parent in zip(folder.files, parents, strict=True) if parent == "."]:
        raise ValueError(
            f"identities='folders', but {len(loose)} images of {folder.root} lie in no folder "
            f"(first: {loose[0]}); give a CSV, or identities='none'"
        )
    return parents


def _of_table(path: Path, folder: ImageFolder) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(
            f"identities={str(path)!r} is no file; give a CSV, 'folders' or 'none'"
        )
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    files, people = (_column(table, known, path) for known in (FILE_COLUMNS, PERSON_COLUMNS))
    known = dict(zip(map(normal_name, table[files]), table[people], strict=True))
    wanted = list(map(normal_name, folder.files))
    if missing := [file for file in wanted if not known.get(file)]:
        raise ValueError(
            f"{path} gives {len(missing)} images of {folder.root} no person (first: "
            f"{missing[0]}); {nearest(missing[0], list(known)[:1000])[:300]}"
        )
    return [known[file] for file in wanted]


def _column(table: pd.DataFrame, known: tuple[str, ...], path: Path) -> str:
    for name in known:
        if name in table.columns:
            return name
    raise ValueError(
        f"{path} has the columns {', '.join(map(str, table.columns))}; one of them must be "
        f"{', '.join(known)}"
    )
