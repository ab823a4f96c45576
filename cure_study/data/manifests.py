"""Data sets by name: a manifest in `data_manifests/` describes each, `load` reads it.

from cure_core import manifests

faces = manifests.load("synthfaces", people=60)
faces = manifests.load("folder", root="/my/crops")
faces = manifests.load("casia_webface")
splits = manifests.read("lfw").splits.model_dump()
"""

import io
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pydantic import ValidationError as Invalid

from cure_core.files import digest, file_sha256, read_sealed, write_sealed
from cure_core.metrics.pairs import Pairs
from cure_core.runtime.memory import available
from cure_study import synthfaces
from cure_study.data.cache import IMAGE, cache_path, cached, open_map, write_map
from cure_study.data.faceset import FaceSet
from cure_study.data.manifest_schema import LAYOUTS, AnyManifest, Drawing, SynthFacesManifest
from cure_study.data.stored import read_stored
from cure_study.data.yaml_files import read_yaml

FOLDER = Path(__file__).parents[2] / "data_manifests"


def names() -> list[str]:
    """The manifests that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read(name: str | Path) -> AnyManifest:
    """The manifest `name` of `data_manifests/`, or the one in a YAML file of your own.

    Raises FileNotFoundError where there is none, and ValueError naming the file, the fields that
    are wrong and their values.
    """
    path = _manifest_path(name)
    fields = read_yaml(path)
    layout = fields.get("layout")
    if not isinstance(layout, str) or layout not in LAYOUTS:
        raise ValueError(f"{path}: `layout` is {layout!r}; use one of {', '.join(LAYOUTS)}")
    try:
        return LAYOUTS[layout].model_validate(fields)
    except Invalid as error:
        raise ValueError(f"{path}: {_told(error)}; compare {FOLDER / 'lfw.yaml'}") from None


def load(name: str | Path, root: str | Path | None = None, **options: object) -> FaceSet:
    """The data set that a manifest describes, decoded or drawn on the first call only.

    `name` is one of `names()` or the path of a YAML file; `root` the folder that the manifest's
    paths start from (default: `cure_study.paths.data_root()`), or, where the manifest gives no
    path, the data set itself. `options` are those of a drawn set (`Drawing`).
    `attributes`, where there are any, say in `unseen` (bool) which images are for the protocols
    alone.

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
    if not isinstance(manifest, SynthFacesManifest):
        return read_stored(manifest, title, root)
    plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in options.items()}
    try:
        drawing = Drawing.model_validate(manifest.options.model_dump() | plain)
    except Invalid as error:
        raise ValueError(f"options of {title}: {_told(error)}") from None
    return _draw(drawing, title)


def _manifest_path(name: str | Path) -> Path:
    path = Path(name).expanduser()
    path = path if path.suffix in {".yaml", ".yml"} else FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise FileNotFoundError(
            f"no manifest {path}; name one of {', '.join(names())}, or the path of a YAML file"
        )
    return path


def _told(error: Invalid) -> str:
    """Each field that is wrong, with its value and what is allowed."""

    def told(kind: str, field: str, value: object, message: str) -> str:
        if kind == "missing":
            return f"`{field}` is missing"
        if kind == "extra_forbidden":
            return f"`{field}` is no field of a manifest"
        return f"`{field}` is {value!r}: {message.removeprefix('Value error, ')}"

    return "; ".join(
        told(e["type"], ".".join(map(str, e["loc"])), e["input"], e["msg"]) for e in error.errors()
    )


def _draw(drawing: Drawing, name: str) -> FaceSet:
    images, attributes = _drawn(drawing)
    identities = attributes["person"].to_numpy(np.int64)
    return FaceSet(
        name=name,
        images=images,
        identities=identities,
        fingerprint=fingerprint(drawing),
        people=tuple(f"person_{i:04d}" for i in range(drawing.people + drawing.unseen_people)),
        attributes=attributes,
        protocols=_protocols(drawing, attributes),
    )


def fingerprint(drawing: Drawing) -> str:
    """Of what is asked for: another processor rounds a few pixels another way, the same faces."""
    return digest("synthfaces", synthfaces.VERSION, _wanted(drawing))


def _wanted(drawing: Drawing) -> dict[str, object]:
    """What the pictures depend on."""
    return drawing.model_dump(exclude={"unseen_pairs", "cross_age_pairs", "min_gap"})


def _drawn(drawing: Drawing) -> tuple[np.ndarray, pd.DataFrame]:
    """The images as a read-only memory map, and their attributes; drawn by one process, once."""
    source = sorted(Path(synthfaces.__file__).parent.glob("*.py"))
    key = digest(_wanted(drawing), *(file_sha256(file) for file in source))
    path, table = (cache_path(f"synthfaces-{key}{end}") for end in (".npy", ".csv"))

    def make() -> None:
        _check_possible(drawing)
        blocks = [synthfaces.generate(**block, progress=None) for block in _blocks(drawing)]
        attributes = _marked(drawing, [block.attributes for block in blocks])
        write_sealed(table, attributes.to_csv(index=False).encode())
        write_map(path, len(attributes), chain.from_iterable(b.images for b in blocks))

    def read() -> tuple[np.ndarray, pd.DataFrame]:
        rows = io.BytesIO(read_sealed(table))
        return open_map(path), pd.read_csv(rows, keep_default_na=False)

    return cached(path, make, read)


def _check_possible(drawing: Drawing) -> None:
    """Before minutes of drawing: do the images fit, and are there enough pairs among them?"""
    wanted = _blocks(drawing)
    count = sum(block["n_people"] * block["images_per_person"] for block in wanted)
    free = available(torch.device("cpu"))
    if free is not None and count * IMAGE > free:
        raise MemoryError(
            f"{count:,} drawn images take {count * IMAGE / 1e9:,.1f} GB of memory, of which "
            f"{free / 1e9:,.1f} GB are free; ask for fewer people or images"
        )
    _protocols(drawing, _marked(drawing, [synthfaces.plan(**block) for block in wanted]))


def _marked(drawing: Drawing, blocks: list[pd.DataFrame]) -> pd.DataFrame:
    """The attributes of all blocks, with `unseen`: which images are for the protocols alone."""
    attributes = pd.concat(blocks, ignore_index=True)
    attributes["unseen"] = attributes["person"] >= drawing.people
    return attributes


def _blocks(drawing: Drawing) -> list[dict[str, int]]:
    """What to draw: first the people for training and outsiders, then the unseen ones, if any."""
    wanted = [
        (drawing.people, drawing.images_per_person, 0),
        (drawing.unseen_people, drawing.unseen_images, drawing.people),
    ]
    return [
        {
            "n_people": people,
            "images_per_person": images,
            "seed": drawing.seed,
            "first_person": first,
        }
        for people, images, first in wanted
        if people
    ]


def _protocols(drawing: Drawing, attributes: pd.DataFrame) -> Mapping[str, Pairs]:
    unseen = np.flatnonzero(attributes["unseen"])
    people = attributes["person"].to_numpy()[unseen]
    ages = attributes["age"].to_numpy()[unseen]
    drawn: dict[str, Pairs] = {}
    if len(unseen) and drawing.unseen_pairs:
        drawn["unseen"] = synthfaces.unseen_pairs(people, drawing.unseen_pairs, drawing.seed)
    if len(unseen) and drawing.cross_age_pairs:
        drawn["cross_age"] = synthfaces.cross_age_pairs(
            people, ages, drawing.cross_age_pairs, drawing.seed, min_gap=drawing.min_gap
        )
    return {
        protocol: Pairs(unseen[pairs.left], unseen[pairs.right], pairs.genuine)
        for protocol, pairs in drawn.items()
    }
