"""Data sets on disk as their manifests describe them: read, and compared with what is said."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from cure_core.files import digest, file_sha256
from cure_core.metrics.pairs import Pairs
from cure_study.data.faceset import FaceSet, Stack
from cure_study.data.folder import Tree, decode, lfw_protocol, list_tree
from cure_study.data.looks import check_looks
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

Stored = FolderManifest | RecordIOManifest | PairsManifest


def read_stored(manifest: Stored, name: str, root: str | Path | None) -> FaceSet:
    """The data set of a manifest; errors as in `cure_study.data.manifests.load`."""
    if root is None and manifest.path is None:
        raise ValueError(f'{name} needs to be told where: load("{name}", root="/my/crops")')
    base = data_root() if root is None else Path(root).expanduser()
    place = base / (manifest.path or ".")
    _present(place, name, manifest, folder=not isinstance(manifest, PairsManifest))
    if isinstance(manifest, FolderManifest):
        return _folder(manifest, name, base, place)
    if isinstance(manifest, RecordIOManifest):
        return _pack(manifest, name, base, place)
    faces = _pairs(place, name, manifest.checksum, manifest)
    _check_counts(place, len(faces), None, manifest)
    return faces


def _folder(manifest: FolderManifest, name: str, base: Path, place: Path) -> FaceSet:
    tree = list_tree(place)
    if tree.left_out:
        named = ", ".join(list(tree.left_out.files)[:3])
        warnings.warn(
            f"{place}: {tree.left_out}{f' (first: {named})' if named else ''}", stacklevel=2
        )
    people, identities = np.unique(tree.people, return_inverse=True)
    _check_counts(place, len(tree.files), len(people), manifest)
    protocols = {
        protocol: _read_pairs(
            _present(base / file.path, name, manifest, folder=False), file.sha256, tree
        )
        for protocol, file in manifest.pairs.items()
    }
    bgr = manifest.colour == "bgr"
    images, fingerprint = decode(tree, resize=manifest.resize, bgr=bgr, checksum=manifest.checksum)
    check_looks(images, manifest.colour, manifest.range, place)
    return FaceSet(
        name=name,
        images=images,
        identities=identities.astype(np.int64),
        fingerprint=fingerprint,
        people=tuple(people.tolist()),
        protocols=protocols,
        left_out=tree.left_out,
    )


def _pack(manifest: RecordIOManifest, name: str, base: Path, place: Path) -> FaceSet:
    """The pack's people, then those of its verification pairs, marked `unseen`."""
    asked = {
        protocol: (file, _present(base / file.path, name, manifest, folder=False))
        for protocol, file in manifest.pairs.items()
    }
    faces = read_recordio(
        place,
        name=name,
        resize=manifest.resize,
        bgr=manifest.colour == "bgr",
        checksum=manifest.checksum,
    )
    _check_counts(place, len(faces), len(faces.people), manifest)
    check_looks(faces.images, manifest.colour, manifest.range, place)
    if not asked:
        return faces
    packs = {
        protocol: _pairs(path, protocol, file.sha256, manifest, file)
        for protocol, (file, path) in asked.items()
    }
    parts = [faces, *packs.values()]
    first = np.cumsum([0, *map(len, parts)])
    people = np.cumsum([0, *(len(part.people) for part in parts)])
    protocols = {
        protocol: Pairs(
            pack.protocols[protocol].left + first[i],
            pack.protocols[protocol].right + first[i],
            pack.protocols[protocol].genuine,
        )
        for i, (protocol, pack) in enumerate(packs.items(), start=1)
    }
    return replace(
        faces,
        images=Stack(tuple(part.images for part in parts)),
        identities=np.concatenate(
            [part.identities + offset for part, offset in zip(parts, people, strict=False)]
        ),
        people=tuple(person for part in parts for person in part.people),
        fingerprint=digest(*(part.fingerprint for part in parts)),
        attributes=pd.DataFrame({"unseen": np.arange(first[-1]) >= len(faces)}),
        protocols=protocols,
    )


def _pairs(
    path: Path,
    name: str,
    sha256: str | None,
    manifest: StoredManifest,
    expected: PackedPairs | None = None,
) -> FaceSet:
    """The images of a `.bin` file, with its pairs as the protocol `name`."""
    actual = file_sha256(path)
    if sha256 not in (None, actual):
        raise ValueError(f"{path} has the checksum {actual}, expected {sha256}; fetch it again")
    colour = (expected and expected.colour) or manifest.colour
    images, genuine = read_pairs(path, resize=manifest.resize, bgr=colour == "bgr")
    check_looks(images, colour, manifest.range, path)
    if expected is not None and expected.count not in (None, len(genuine)):
        raise ValueError(
            f"{path} holds {len(genuine):,} pairs, expected {expected.count:,}; fetch it again"
        )
    identities = people_of_pairs(images, genuine)
    left = np.arange(0, len(images), 2)
    return FaceSet(
        name=name,
        images=images,
        identities=identities,
        fingerprint=actual[:16],
        people=tuple(f"{name} {i}" for i in range(identities.max() + 1)),
        protocols={name: Pairs(left, left + 1, genuine)},
    )


def people_of_pairs(images: np.ndarray, genuine: np.ndarray) -> np.ndarray:
    """Who is who, as far as pairs tell: (2P,) int64, numbered in the order of first appearance.

    The same picture is the same person, and so are the two of a genuine pair; whoever is not tied
    so counts as someone else. A person can thus be several here, never several one.
    """
    pictures = [digest(image) for image in images]
    node = np.unique(pictures, return_inverse=True)[1]
    ties = node[0::2][genuine], node[1::2][genuine]
    graph = coo_matrix((np.ones(len(ties[0])), ties), shape=(node.max() + 1,) * 2)
    person = connected_components(graph, directed=False)[1][node]
    _, first, code = np.unique(person, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[code].astype(np.int64)


def _check_counts(place: Path, images: int, people: int | None, manifest: StoredManifest) -> None:
    for what, expected, found in (
        ("images", manifest.images, images),
        ("people", manifest.people, people),
    ):
        if found is not None and expected not in (None, found):
            raise ValueError(
                f"{place} holds {found:,} {what}, expected {expected:,}; fetch it again. "
                f"{manifest.how_to_get}"
            )


def _present(path: Path, name: str, manifest: StoredManifest, *, folder: bool) -> Path:
    if path.is_dir() if folder else path.is_file():
        return path
    wrong = "a file instead of a folder" if folder else "a folder instead of a file"
    found = wrong if path.exists() else "nothing"
    raise FileNotFoundError(
        f"{name}: {found} at {path}; set CURE_DATA_ROOT, or pass root, if it lies elsewhere. "
        f"How to get it: {manifest.how_to_get}"
    )


def _read_pairs(path: Path, sha256: str, tree: Tree) -> Pairs:
    actual = file_sha256(path)
    if actual != sha256:
        raise ValueError(f"{path} has the checksum {actual}, expected {sha256}; fetch it again")
    return lfw_protocol(path, tree)
