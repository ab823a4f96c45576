"""Reading an `<identity>/<image>` tree once into a memory map in the cache."""

import hashlib
import os
import re
from collections import defaultdict
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from cure_core.files import digest
from cure_core.metrics.pairs import Pairs
from cure_study.data.faceset import LeftOut
from cure_study.data.image_cache import cached_bytes, cached_images
from cure_study.data.images import read_image
from cure_study.data.lfw_pairs import read_lfw_pairs
from cure_study.data.scan import EXTENSIONS, scan
from cure_study.data.text import normal_name


@dataclass(frozen=True)
class Tree:
    """An image folder's files in order: `files` relative to `root`, one subfolder a person."""

    root: Path
    files: tuple[str, ...]
    left_out: LeftOut = field(default_factory=LeftOut)

    @property
    def people(self) -> list[str]:
        """The person in each image: its subfolder's name."""
        return [_person(file) for file in self.files]


def _person(file: str) -> str:
    return file.split("/", 1)[0]


def list_tree(root: Path) -> Tree:
    """Every image of an `<identity>/<image>` tree, by `scan`, sorted; `left_out` names all else.

    Raises ValueError if there is no image, naming the first image that is not exactly one folder
    deep, two folders whose names differ only in Unicode normalisation, or a name that is not
    UTF-8; OSError naming a folder that cannot be listed.
    """
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder; expected <identity>/<image> in it")
    found = scan(root)
    for error in found.errors.values():
        raise ValueError(f"{root} holds {error}") if isinstance(error, ValueError) else error
    images = sorted(found.images)
    misplaced = [name for name in images if name.count("/") != 1]
    if misplaced:
        raise ValueError(
            f"{len(misplaced)} images in {root} are not in the form <identity>/<image> (first: "
            f"{misplaced[0]}); move each into the folder of its person"
        )
    people = {_person(name) for name in images}
    folders = {path.name for path in root.iterdir() if path.is_dir() and path.name[0] != "."}
    skipped = LeftOut(
        dict(sorted(found.left_out.items())),
        tuple(sorted(folders - people - found.left_out.keys())),
    )
    if not images:
        raise ValueError(
            f"no images in {root}: expected <identity>/<image> with one of "
            f"{', '.join(sorted(EXTENSIONS))}{f'; {skipped}' if skipped else ''}"
        )
    _check_names(root, sorted(people))
    return Tree(root, tuple(images), skipped)


def _check_names(root: Path, people: list[str]) -> None:
    folders: dict[str, str] = {}
    for person in people:
        if (other := folders.setdefault(normal_name(person), person)) != person:
            raise ValueError(
                f"{root} holds two folders for {person}, {other!a} and {person!a}: the "
                "same letters in two forms of Unicode; put the images into one folder"
            )


def lfw_protocol(path: Path, tree: Tree) -> Pairs:
    """The pairs of a file in the form of LFW's `pairs.txt`, in its order, as indices of the files.

    Image i of `name` is `name/name_000i` with any extension, in any Unicode normalisation.
    Raises ValueError naming the line and the image if the tree has no such file, with the nearest
    name, or two of them.
    """
    files: defaultdict[str, list[int]] = defaultdict(list)
    for i, file in enumerate(tree.files):
        files[normal_name(_stem(file))].append(i)
    table = read_lfw_pairs(path)

    def find(line: int, person: str, number: int) -> int:
        image = f"{person}/{person}_{number:04d}"
        matches = files[normal_name(image)]
        if len(matches) == 1:
            return matches[0]
        if not matches:
            raise ValueError(
                f"{path}:{line} names {image}, which is not in {tree.root}{_nearest(image, tree)}"
            )
        first, second = (tree.files[match] for match in matches[:2])
        raise ValueError(
            f"{path}:{line} names {image}, which {tree.root} holds twice, as {first} and "
            f"{second}; remove one of them"
        )

    left, right = (
        np.array([*map(find, range(2, len(table) + 2), table[name], table[number])], np.int64)
        for name, number in (("name1", "i1"), ("name2", "i2"))
    )
    return Pairs(left, right, table["genuine"].to_numpy(bool))


def _stem(file: str) -> str:
    """A file's name without its extension; without one, a name may hold a dot ("J.R._0001")."""
    return re.sub(r"\.[A-Za-z][A-Za-z0-9]{1,4}$", "", file)


def _nearest(image: str, tree: Tree) -> str:
    """The end of an error about a missing image: the most similar name in the tree."""
    names = {normal_name(person) for person in tree.people}
    near = get_close_matches(normal_name(_person(image)), sorted(names), 1)
    if not near:
        return ""
    stems = {_stem(f): f for f in tree.files if normal_name(_person(f)) == near[0]}
    closest = get_close_matches(image, stems, 1, cutoff=0)
    return f"; the nearest is {stems[closest[0]]}; rename it to <name>/<name>_NNNN if it is meant"


def tree_checksum(tree: Tree) -> str:
    """SHA-256 over every file's name and bytes, in order."""
    sha = hashlib.sha256()
    for file in tree.files:
        sha.update(file.encode() + b"\0" + (tree.root / file).read_bytes())
    return sha.hexdigest()


def read_tree(
    tree: Tree,
    *,
    resize: bool = False,
    bgr: bool = False,
    checksum: str | None = None,
    progress: bool | None = None,
) -> tuple[np.ndarray, str]:
    """A read-only memory map (N, 112, 112, 3) of the tree's images, and its content's digest.

    Decoded on the first call only; later calls compare names, sizes and times of the files.
    Raises ValueError for a wrong checksum, or naming the first unreadable image.
    """
    paths = [tree.root / file for file in tree.files]
    versions = [(stats.st_size, stats.st_mtime_ns) for stats in map(os.stat, paths)]
    key = digest(str(tree.root.resolve()), tree.files, versions, resize, bgr)
    images = cached_images(
        key,
        len(paths),
        lambda first: paths[first:],
        lambda path: read_image(path, resize, bgr=bgr),
        progress,
    )
    actual = cached_bytes(f"{key}.sha256", lambda: tree_checksum(tree).encode()).decode()
    if checksum not in (None, actual):
        raise ValueError(
            f"{tree.root} holds other images than the manifest describes: its checksum is "
            f"{actual}, expected {checksum}; fetch the data again, or set the manifest's "
            "`checksum` to null if yours are meant to differ"
        )
    return images, actual[:16]
