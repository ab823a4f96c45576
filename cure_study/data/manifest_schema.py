"""What a manifest says: the fields of each layout, checked where one is read."""

from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints


def _ascending(span: tuple[int, int]) -> tuple[int, int]:
    if not 0 <= span[0] < span[1] <= 255:
        raise ValueError("give the least and the greatest value, from 0 to 255")
    return span


def _relative(path: str) -> str:
    parts = {*PurePosixPath(path).parts, *PureWindowsPath(path).parts}
    if not parts or ".." in parts or PureWindowsPath(path).anchor:
        raise ValueError("give a path below the root, without '..'")
    return path


RelativePath = Annotated[str, AfterValidator(_relative)]
Colour = Literal["rgb", "bgr", "grey"]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
# YAML has lists only, which a strict tuple does not take; its numbers stay strict.
Span = Annotated[tuple[int, int], Field(strict=False), AfterValidator(_ascending)]
PairCount = Annotated[int, Field(ge=0, multiple_of=20)]


class Model(BaseModel):
    """What all parts of a manifest have in common: every field known, none changed later.

    Strict, so that text such as "5" or a boolean is no number, and the text `no` no boolean.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Splits(Model):
    """What the study uses by default: the arguments of `cure_study.data.splits.split_people`."""

    min_images: int = Field(ge=3)
    max_images: int | None = Field(ge=3)
    outsiders: int = Field(ge=0)
    heldout: float = Field(gt=0, lt=1)


class PairsFile(Model):
    """Verification pairs in the form of LFW's `pairs.txt`; `path` is relative to the root."""

    path: RelativePath
    sha256: Sha256


class PackedPairs(Model):
    """Verification pairs in InsightFace's `.bin` form, `count` of them.

    `colour` is given where it differs from the pack's.
    """

    path: RelativePath
    colour: Colour | None = None
    count: int | None = Field(default=None, ge=1)
    sha256: Sha256 | None = None


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
    seed: int = Field(ge=0, lt=2**63)


class Manifest(Model):
    """What every manifest says."""

    title: str
    source: str
    licence: str
    how_to_get: str
    protocol: str
    splits: Splits


class StoredManifest(Manifest):
    """A set on disk at `path` below the root; without `path`, the root itself.

    `colour` is the order of the stored channels and `range` the values in use; both are compared
    with the images, and null leaves the colour unchecked. Other sizes than 112 x 112 are an error
    unless `resize`. Counts and checksum are compared where they are given.
    """

    path: RelativePath | None = None
    colour: Colour | None = None
    range: Span = (0, 255)
    resize: bool = False
    images: int | None = Field(default=None, ge=1)
    people: int | None = Field(default=None, ge=1)
    checksum: Sha256 | None = None


class FolderManifest(StoredManifest):
    """An `<identity>/<image>` tree; the checksum is `cure_study.data.folder.tree_checksum`."""

    layout: Literal["folder"]
    pairs: dict[str, PairsFile] = {}


class RecordIOManifest(StoredManifest):
    """InsightFace's pack, a folder with `train.rec`, whose SHA-256 the checksum is.

    `pairs` name `.bin` files with paths from the root; their images join the set as `unseen`.
    """

    layout: Literal["recordio"]
    pairs: dict[str, PackedPairs] = {}


class PairsManifest(StoredManifest):
    """Verification pairs in one `.bin` file, whose SHA-256 the checksum is."""

    layout: Literal["pairs"]


class SynthFacesManifest(Manifest):
    """Drawn faces; `options` are the defaults for what `load` may be given."""

    layout: Literal["synthfaces"]
    options: Drawing


AnyManifest = FolderManifest | RecordIOManifest | PairsManifest | SynthFacesManifest
LAYOUTS: dict[str, type[AnyManifest]] = {
    "folder": FolderManifest,
    "recordio": RecordIOManifest,
    "pairs": PairsManifest,
    "synthfaces": SynthFacesManifest,
}
