"""Data sets by name: a manifest in `data_manifests/` describes each, `load` reads it.

from cure_core import manifests

faces = manifests.load("synthfaces", people=60)
faces = manifests.load("folder", root="/my/crops")
splits = manifests.read("lfw").splits.model_dump()
"""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic import ValidationError as Invalid

from cure_core.faces import synthfaces
from cure_core.faces.decoding import write_map
from cure_core.faces.faceset import FaceSet
from cure_core.faces.folder import Tree, decode, lfw_protocol, list_tree
from cure_core.files import atomic_path, cache_root, data_root, digest, file_sha256
from cure_core.pairs import Pairs

FOLDER = Path(__file__).parents[1] / "data_manifests"


def _relative(path: str) -> str:
    parts = {*PurePosixPath(path).parts, *PureWindowsPath(path).parts}
    if not parts or ".." in parts or PureWindowsPath(path).anchor:
        raise ValueError("give a path below the root, without '..'")
    return path


RelativePath = Annotated[str, AfterValidator(_relative)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
PairCount = Annotated[int, Field(ge=0, multiple_of=20)]


class Model(BaseModel):
    """What all parts of a manifest have in common: every field known, none changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Splits(Model):
    """What the study uses by default: the arguments of `cure_core.splits.split_people`."""

    min_images: int = Field(ge=3)
    max_images: int | None = Field(ge=3)
    outsiders: int = Field(ge=0)
    heldout: float = Field(gt=0, lt=1)


class PairsFile(Model):
    """Verification pairs in the form of LFW's `pairs.txt`; `path` is relative to the root."""

    path: RelativePath
    sha256: Sha256


class Drawing(Model):
    """What to draw: `people` for training and outsiders, then `unseen_people` for the protocols.

    A count of pairs of 0 leaves its protocol out; `min_gap` is in years.
    """

    people: int = Field(ge=1)
    images_per_person: int = Field(ge=1)
    unseen_people: int = Field(ge=0)
    unseen_images: int = Field(ge=1)
    unseen_pairs: PairCount
    cross_age_pairs: PairCount
    min_gap: float = Field(ge=0)
    seed: int = Field(ge=0)


class Manifest(Model):
    """What every manifest says."""

    title: str
    source: str
    licence: str
    how_to_get: str
    protocol: str
    splits: Splits


class FolderManifest(Manifest):
    """An `<identity>/<image>` tree at `path` below the root; without `path`, the root itself."""

    layout: Literal["folder"]
    path: RelativePath | None = None
    resize: bool = False
    images: int | None = None
    people: int | None = None
    checksum: Sha256 | None = None
    pairs: dict[str, PairsFile] = {}


class SynthFacesManifest(Manifest):
    """Drawn faces; `options` are the defaults for what `load` may be given."""

    layout: Literal["synthfaces"]
    options: Drawing


LAYOUTS: dict[str, type[FolderManifest] | type[SynthFacesManifest]] = {
    "folder": FolderManifest,
    "synthfaces": SynthFacesManifest,
}


def names() -> list[str]:
    """The manifests that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read(name: str | Path) -> FolderManifest | SynthFacesManifest:
    """The manifest `name` of `data_manifests/`, or the one in a YAML file of your own.

    Raises FileNotFoundError where there is none, and ValueError naming the file, the fields that
    are wrong and their values.
    """
    path = _manifest_path(name)
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{path} is no mapping of fields; {FOLDER / 'lfw.yaml'} is an example")
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
    paths start from (default: `cure_core.files.data_root()`), or, where the manifest gives no
    path, the `<identity>/<image>` tree itself. `options` are those of a drawn set (`Drawing`).
    SynthFaces' `attributes` say in `unseen` (bool) whose images are for the protocols alone.

    Raises FileNotFoundError saying where a missing data set was looked for and how to get it, and
    ValueError for a wrong checksum, count, image, pair or option, each by name.
    """
    manifest, title = read(name), _manifest_path(name).stem
    known = Drawing.model_fields if isinstance(manifest, SynthFacesManifest) else {}
    if unknown := options.keys() - known:
        raise ValueError(
            f"{title} has no option {', '.join(sorted(unknown))}; it has "
            f"{', '.join(known) or 'none'}"
        )
    if isinstance(manifest, FolderManifest):
        return _read_folder(manifest, title, root)
    try:
        drawing = Drawing.model_validate(manifest.options.model_dump() | options)
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


def _read_folder(manifest: FolderManifest, name: str, root: str | Path | None) -> FaceSet:
    if root is None and manifest.path is None:
        raise ValueError(f'{name} needs to be told where: load("{name}", root="/my/crops")')
    base = data_root() if root is None else Path(root).expanduser()
    folder = _present(base / (manifest.path or "."), name, manifest)
    tree = list_tree(folder)
    people, identities = np.unique(tree.people, return_inverse=True)
    for what, expected, found in (
        ("images", manifest.images, len(tree.files)),
        ("people", manifest.people, len(people)),
    ):
        if expected not in (None, found):
            raise ValueError(
                f"{folder} holds {found:,} {what}, expected {expected:,}; fetch it again. "
                f"{manifest.how_to_get}"
            )
    protocols = {
        protocol: _read_pairs(_present(base / file.path, name, manifest), file.sha256, tree)
        for protocol, file in manifest.pairs.items()
    }
    images, fingerprint = decode(tree, resize=manifest.resize, checksum=manifest.checksum)
    return FaceSet(
        name=name,
        images=images,
        identities=identities.astype(np.int64),
        fingerprint=fingerprint,
        people=tuple(people.tolist()),
        protocols=protocols,
    )


def _present(path: Path, name: str, manifest: Manifest) -> Path:
    if not path.exists():
        raise FileNotFoundError(
            f"{name}: nothing at {path}; set CURE_DATA_ROOT, or pass root, if it lies elsewhere. "
            f"How to get it: {manifest.how_to_get}"
        )
    return path


def _read_pairs(path: Path, sha256: str, tree: Tree) -> Pairs:
    actual = file_sha256(path)
    if actual != sha256:
        raise ValueError(f"{path} has the checksum {actual}, expected {sha256}; fetch it again")
    return lfw_protocol(path, tree)


def _draw(drawing: Drawing, name: str) -> FaceSet:
    images, attributes, fingerprint = _drawn(drawing)
    identities = attributes["person"].to_numpy(np.int64)
    return FaceSet(
        name=name,
        images=images,
        identities=identities,
        fingerprint=fingerprint,
        people=tuple(f"person_{i:04d}" for i in range(drawing.people + drawing.unseen_people)),
        attributes=attributes,
        protocols=_protocols(drawing, attributes),
    )


def _drawn(drawing: Drawing) -> tuple[np.ndarray, pd.DataFrame, str]:
    """The images as a read-only memory map, their attributes, and a digest of both; drawn once."""
    wanted = drawing.model_dump(exclude={"unseen_pairs", "cross_age_pairs", "min_gap"})
    source = sorted(Path(synthfaces.__file__).parent.glob("*.py"))
    key = digest(wanted, *(file_sha256(file) for file in source))
    path, table, content = (
        cache_root() / "faces" / f"synthfaces-{key}{suffix}" for suffix in (".npy", ".csv", ".txt")
    )
    if not all(file.is_file() for file in (path, table, content)):
        blocks = _blocks(drawing)
        attributes = pd.concat([block.attributes for block in blocks], ignore_index=True)
        attributes["unseen"] = attributes["person"] >= drawing.people
        with atomic_path(path) as images, atomic_path(table) as rows, atomic_path(content) as text:
            write_map(images, len(attributes), chain.from_iterable(b.images for b in blocks))
            attributes.to_csv(rows, index=False)
            text.write_text(digest(file_sha256(images), file_sha256(rows)))
    attributes = pd.read_csv(table, keep_default_na=False)
    return np.load(path, mmap_mode="r"), attributes, content.read_text()


def _blocks(drawing: Drawing) -> list[synthfaces.SynthFaces]:
    """First the people for training and outsiders, then the unseen ones, if any."""
    wanted = [
        (drawing.people, drawing.images_per_person, 0),
        (drawing.unseen_people, drawing.unseen_images, drawing.people),
    ]
    return [
        synthfaces.generate(people, images, drawing.seed, first_person=first, progress=None)
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
