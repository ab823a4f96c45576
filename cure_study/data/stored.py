"""Data sets on disk, read as their manifests describe them, and checked against that."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from cure_core.files import digest, file_sha256
from cure_core.metrics.pairs import Pairs
from cure_study.data.faceset import ConcatImages, FaceSet
from cure_study.data.folder import lfw_protocol, list_tree, read_tree
from cure_study.data.image_statistics import check_statistics
from cure_study.data.manifest_schema import (
    FolderManifest,
    PackedPairs,
    PairsManifest,
    RecordIOManifest,
    StoredManifest,
)
from cure_study.data.pack import read_recordio
from cure_study.data.pairs_pack import read_pairs
from cure_study.paths import data_root


def read_stored(manifest: StoredManifest, name: str, root: str | Path | None) -> FaceSet:
    """The data set of a manifest; errors as in `cure_study.data.manifests.load`."""
    if root is None and manifest.path is None:
        raise ValueError(f'{name} needs a root: load("{name}", root="/my/crops")')
    base = data_root() if root is None else Path(root).expanduser()
    path = base / (manifest.path or ".")
    _check_present(path, name, manifest, folder=not isinstance(manifest, PairsManifest))
    if isinstance(manifest, FolderManifest | RecordIOManifest):
        for pairs in manifest.pairs.values():
            _check_present(base / pairs.path, name, manifest, folder=False)
    if isinstance(manifest, FolderManifest):
        return _read_folder(manifest, name, base, path)
    if isinstance(manifest, RecordIOManifest):
        return _read_pack(manifest, name, base, path)
    description = PackedPairs(path=path.name, sha256=manifest.checksum)
    faces = _read_pairs(path, name, description, manifest)
    _check_counts(path, len(faces), None, manifest)
    return faces


def _read_folder(manifest: FolderManifest, name: str, base: Path, path: Path) -> FaceSet:
    tree = list_tree(path)
    if tree.left_out:
        first = ", ".join(list(tree.left_out.files)[:3])
        first = f" (first: {first})" if first else ""
        warnings.warn(f"{path}: {tree.left_out}{first}", stacklevel=4)
    people, identities = np.unique(tree.people, return_inverse=True)
    _check_counts(path, len(tree.files), len(people), manifest)
    protocols = {}
    for protocol, pairs in manifest.pairs.items():
        _check_sha256(base / pairs.path, pairs.sha256)
        protocols[protocol] = lfw_protocol(base / pairs.path, tree)
    bgr = manifest.colour == "bgr"
    images, fingerprint = read_tree(
        tree, resize=manifest.resize, bgr=bgr, checksum=manifest.checksum
    )
    check_statistics(images, manifest.colour, manifest.range, path)
    return FaceSet(
        name=name,
        images=images,
        identities=identities.astype(np.int64),
        fingerprint=fingerprint,
        people=tuple(people.tolist()),
        protocols=protocols,
        left_out=tree.left_out,
    )


def _read_pack(manifest: RecordIOManifest, name: str, base: Path, path: Path) -> FaceSet:
    """The pack's people, then those of its verification pairs, marked `unseen`."""
    bgr = manifest.colour == "bgr"
    faces = read_recordio(
        path, name=name, resize=manifest.resize, bgr=bgr, checksum=manifest.checksum
    )
    _check_counts(path, len(faces), len(faces.people), manifest)
    assert isinstance(faces.images, np.ndarray)
    check_statistics(faces.images, manifest.colour, manifest.range, path)
    packs = [
        _read_pairs(base / pairs.path, protocol, pairs, manifest)
        for protocol, pairs in manifest.pairs.items()
    ]
    return _concatenate(faces, packs) if packs else faces


def _concatenate(faces: FaceSet, packs: list[FaceSet]) -> FaceSet:
    """`faces` with the images, people and protocols of `packs` added, as `unseen`."""
    parts = [faces, *packs]
    first_image = np.cumsum([0, *map(len, parts)])
    first_person = np.cumsum([0, *(len(part.people) for part in parts)])
    protocols = {
        protocol: Pairs(pairs.left + first, pairs.right + first, pairs.genuine)
        for first, pack in zip(first_image[1:], packs, strict=False)
        for protocol, pairs in pack.protocols.items()
    }
    identities = [part.identities + n for part, n in zip(parts, first_person, strict=False)]
    return replace(
        faces,
        images=ConcatImages(tuple(part.images for part in parts)),  # type: ignore[misc]
        identities=np.concatenate(identities),
        people=tuple(person for part in parts for person in part.people),
        fingerprint=digest(*(part.fingerprint for part in parts)),
        attributes=pd.DataFrame({"unseen": np.arange(first_image[-1]) >= len(faces)}),
        protocols=protocols,
    )


def _read_pairs(path: Path, name: str, pairs: PackedPairs, manifest: StoredManifest) -> FaceSet:
    """The images of a `.bin` file, with its pairs as the protocol `name`."""
    sha256 = _check_sha256(path, pairs.sha256)
    colour = pairs.colour or manifest.colour
    images, genuine = read_pairs(path, resize=manifest.resize, bgr=colour == "bgr")
    check_statistics(images, colour, manifest.range, path)
    if pairs.count not in (None, len(genuine)):
        raise ValueError(
            f"{path} holds {len(genuine):,} pairs, expected {pairs.count:,}; fetch it again"
        )
    identities = people_of_pairs(images, genuine)
    left = np.arange(0, len(images), 2)
    return FaceSet(
        name=name,
        images=images,
        identities=identities,
        fingerprint=sha256[:16],
        people=tuple(f"{name} {i}" for i in range(identities.max() + 1)),
        protocols={name: Pairs(left, left + 1, genuine)},
    )


def people_of_pairs(images: np.ndarray, genuine: np.ndarray) -> np.ndarray:
    """Identities (2P,) int64 as far as pairs determine them, in the order of first appearance.

    Equal images are one person, and so are the two images of a genuine pair; all others count as
    different people. One person may thus get several numbers, but never several people one.
    """
    image = np.unique([digest(image) for image in images], return_inverse=True)[1]
    links = image[0::2][genuine], image[1::2][genuine]
    graph = coo_matrix((np.ones(len(links[0])), links), shape=(image.max() + 1,) * 2)
    person = connected_components(graph, directed=False)[1][image]
    return pd.factorize(person)[0].astype(np.int64)


def _check_counts(path: Path, images: int, people: int | None, manifest: StoredManifest) -> None:
    for what, expected, found in (
        ("images", manifest.images, images),
        ("people", manifest.people, people),
    ):
        if found is not None and expected not in (None, found):
            raise ValueError(
                f"{path} holds {found:,} {what}, expected {expected:,}; fetch it again. "
                f"{manifest.how_to_get}"
            )


def _check_present(path: Path, name: str, manifest: StoredManifest, *, folder: bool) -> None:
    if path.is_dir() if folder else path.is_file():
        return
    wrong = "a file instead of a folder" if folder else "a folder instead of a file"
    found = wrong if path.exists() else "nothing"
    raise FileNotFoundError(
        f"{name}: {found} at {path}; set CURE_DATA_ROOT, or pass root, if it is elsewhere. "
        f"How to get it: {manifest.how_to_get}"
    )


def _check_sha256(path: Path, expected: str | None) -> str:
    """A file's SHA-256. Raises ValueError if it is not the expected one."""
    actual = file_sha256(path)
    if expected not in (None, actual):
        raise ValueError(f"{path} has the checksum {actual}, expected {expected}; fetch it again")
    return actual
