"""Data sets by name: a manifest in `data_manifests/` describes each, `load` reads it.

from cure_study.data import manifests

faces = manifests.load("synthfaces", people=60)
faces = manifests.load("folder", root="/my/crops")
faces = manifests.load("casia_webface")
splits = manifests.read("lfw").splits.model_dump()
"""

from pathlib import Path

import numpy as np
from pydantic import ValidationError

from cure_study.data.drawn import draw
from cure_study.data.faceset import FaceSet
from cure_study.data.manifest_schema import (
    LAYOUTS,
    Drawing,
    Manifest,
    StoredManifest,
    SynthFacesManifest,
)
from cure_study.data.stored import read_stored
from cure_study.data.yaml_files import read_yaml, validation_message

FOLDER = Path(__file__).parents[2] / "data_manifests"


def names() -> list[str]:
    """The manifests that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read(name: str | Path) -> Manifest:
    """The manifest `name` of `data_manifests/`, or the one in a YAML file of your own.

    Raises FileNotFoundError if there is none, and ValueError naming the file, the fields that are
    wrong and their values.
    """
    path = _manifest_path(name)
    fields = read_yaml(path)
    layout = fields.get("layout")
    if not isinstance(layout, str) or layout not in LAYOUTS:
        raise ValueError(f"{path}: `layout` is {layout!r}; use one of {', '.join(LAYOUTS)}")
    try:
        return LAYOUTS[layout].model_validate(fields)
    except ValidationError as error:
        message = validation_message(error, LAYOUTS[layout].model_fields)
        raise ValueError(f"{path}: {message}; compare {FOLDER / 'lfw.yaml'}") from None


def load(name: str | Path, root: str | Path | None = None, **options: object) -> FaceSet:
    """The data set that a manifest describes, decoded or drawn on the first call only.

    `name` is one of `names()` or the path of a YAML file; `root` the folder that the manifest's
    paths start from (default: `cure_study.paths.data_root()`), or, if the manifest gives no path,
    the data set itself. `options` are those of a drawn set (`Drawing`).

    Raises FileNotFoundError saying where a missing data set was looked for and how to get it;
    ValueError for a wrong checksum, count, colour, image, pair or option, each by name; MemoryError
    for more drawn images than fit; OSError naming what cannot be read or written. Warns of files
    of an image folder that are not read (`FaceSet.left_out`), and of a damaged cache file, which
    is made again.
    """
    manifest, title = read(name), _manifest_path(name).stem
    known = Drawing.model_fields if isinstance(manifest, SynthFacesManifest) else {}
    if unknown := options.keys() - known:
        raise ValueError(
            f"{title} has no option {', '.join(sorted(unknown))}; it has "
            f"{', '.join(known) or 'none'}"
        )
    if isinstance(manifest, StoredManifest):
        return read_stored(manifest, title, root)
    assert isinstance(manifest, SynthFacesManifest)
    plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in options.items()}
    try:
        drawing = Drawing.model_validate(manifest.options.model_dump() | plain)
    except ValidationError as error:
        raise ValueError(f"options of {title}: {validation_message(error)}") from None
    return draw(drawing, title)


def _manifest_path(name: str | Path) -> Path:
    path = Path(name).expanduser()
    path = path if path.suffix in {".yaml", ".yml"} else FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise FileNotFoundError(
            f"no manifest {path}; name one of {', '.join(names())}, or the path of a YAML file"
        )
    return path
