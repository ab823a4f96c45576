"""The fields of a manifest, for each layout of a data set."""

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
Count = Annotated[int, Field(ge=1)]
PairCount = Annotated[int, Field(ge=0, multiple_of=20)]
# YAML has lists only, which a strict tuple does not accept; its numbers stay strict.
Span = Annotated[tuple[int, int], Field(strict=False), AfterValidator(_ascending)]


class Model(BaseModel):
    """Every field known, none changed later; strict: the text "5" and True are not numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Splits(Model):
    """The study's default arguments of `cure_study.data.splits.split_people`."""

    min_images: int = Field(ge=3)
    max_images: int | None = Field(ge=3)
    outsiders: int = Field(ge=0)
    heldout: float = Field(gt=0, lt=1)


class PairsFile(Model):
    """Verification pairs in the form of LFW's `pairs.txt`; `path` is relative to the root."""

    path: RelativePath
    sha256: Sha256


class PackedPairs(Model):
    """`count` verification pairs in InsightFace's `.bin` form; `colour` if not the pack's."""

    path: RelativePath
    colour: Colour | None = None
    count: Count | None = None
    sha256: Sha256 | None = None


class Drawing(Model):
    """What to draw: `people` for training and outsiders, then `unseen_people` for the protocols.

    A count of pairs of 0 leaves its protocol out; `min_gap` is in years.
    """

    people: Count
    images_per_person: Count
    unseen_people: int = Field(ge=0)
    unseen_images: Count
    unseen_pairs: PairCount
    cross_age_pairs: PairCount
    min_gap: float = Field(ge=0)
    seed: int = Field(ge=0, lt=2**63)


class Manifest(Model):
    """The fields that every manifest has."""

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
    unless `resize`. Counts and checksum are compared if they are given.
    """

    path: RelativePath | None = None
    colour: Colour | None = None
    range: Span = (0, 255)
    resize: bool = False
    images: Count | None = None
    people: Count | None = None
    checksum: Sha256 | None = None


class FolderManifest(StoredManifest):
    """An `<identity>/<image>` tree; the checksum is `cure_study.data.folder.tree_checksum`."""

    layout: Literal["folder"]
    pairs: dict[str, PairsFile] = {}


class RecordIOManifest(StoredManifest):
    """InsightFace's pack, a folder with `train.rec`; the checksum is that file's SHA-256.

    `pairs` name `.bin` files with paths from the root; their images join the set as `unseen`.
    """

    layout: Literal["recordio"]
    pairs: dict[str, PackedPairs] = {}


class PairsManifest(StoredManifest):
    """Verification pairs in one `.bin` file; the checksum is its SHA-256."""

    layout: Literal["pairs"]


class SynthFacesManifest(Manifest):
    """Synthetic faces; `options` are the defaults of the options of `manifests.load`."""

    layout: Literal["synthfaces"]
    options: Drawing


LAYOUTS: dict[str, type[Manifest]] = {
    "folder": FolderManifest,
    "recordio": RecordIOManifest,
    "pairs": PairsManifest,
    "synthfaces": SynthFacesManifest,
}
