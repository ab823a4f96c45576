"""Reading an `<identity>/<image>` tree once into a memory map in the cache."""

import hashlib
import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from cure_core.files import digest
from cure_core.metrics.pairs import Pairs
from cure_study.data.cache import cached_bytes
from cure_study.data.decoding import decoded, open_image, read_image
from cure_study.data.faceset import LeftOut
from cure_study.data.lfw_pairs import normal_name, read_lfw_pairs

# Files with one of these are images, and an error where they cannot be read; others are opened.
EXTENSIONS = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Tree:
    """An image folder's files in order: `files` relative to `root`, one person a subfolder."""

    root: Path
    files: tuple[str, ...]
    left_out: LeftOut = field(default_factory=LeftOut)

    @property
    def people(self) -> list[str]:
        """Whose image each file is: its subfolder's name."""
        return [file.split("/", 1)[0] for file in self.files]


def list_tree(root: Path) -> Tree:
    """Every image of an `<identity>/<image>` tree, sorted by name; `left_out` names all else.

    A file whose extension does not name a format that is read counts as an image if its content
    is one. Raises ValueError where there is no image, naming the first image that lies a level
    too high or too low, and naming two folders whose names differ only in Unicode's normal form
    and a name that is not UTF-8; OSError naming a folder that cannot be listed.
    """
    images: list[str] = []
    left_out: dict[str, str] = {}
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder; expected <identity>/<image> in it")
    for name, entry in _files(root):
        _check_text(root, name)
        reason = _reason(name, entry)
        if reason is None:
            images.append(name)
        else:
            left_out[name] = reason
    misplaced = sorted(name for name in images if name.count("/") != 1)
    if misplaced:
        raise ValueError(
            f"{len(misplaced)} images in {root} are not in the form <identity>/<image> (first: "
            f"{misplaced[0]}); move each into the folder of its person"
        )
    without = LeftOut(dict(sorted(left_out.items())), _without_image(root, images))
    if not images:
        raise ValueError(
            f"no images in {root}: expected <identity>/<image> with one of "
            f"{', '.join(sorted(EXTENSIONS))}{f'; {without}' if without else ''}"
        )
    tree = Tree(root, tuple(sorted(images)), without)
    _check_names(root, sorted({*tree.people}))
    return tree


def _files(root: Path, below: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything below `root` but folders, by its name relative to it.

    A link to a folder is followed where the folder of a person would be, and no deeper, so that
    no circle of links is.
    """
    with os.scandir(root / below) as entries:
        for entry in entries:
            name = f"{below}{entry.name}"
            if entry.is_dir(follow_symlinks=not below):
                yield from _files(root, f"{name}/")
            else:
                yield name, entry


def _reason(name: str, entry: os.DirEntry[str]) -> str | None:
    """Why a file is left out, or None for an image."""
    if any(part.startswith(".") for part in name.split("/")):
        return "hidden"
    try:
        mode, size = (found := entry.stat()).st_mode, found.st_size
    except OSError:
        return "broken link"
    if not stat.S_ISREG(mode):  # a pipe must not be opened: it would wait for a writer
        return "link to a folder" if stat.S_ISDIR(mode) else "not a regular file"
    extension = Path(name).suffix.lower()
    if extension in EXTENSIONS:
        return None
    if not size:
        return "empty"
    try:
        with open_image(Path(entry.path)) as image:
            # A camera's raw file is a TIFF by its content, with a thumbnail for an image.
            if image.format != "TIFF" or not extension:
                return None
    except Exception:  # a broken file can make a decoder raise anything
        pass
    return extension or "without extension"


def _without_image(root: Path, images: list[str]) -> tuple[str, ...]:
    """People whose folder, perhaps empty, holds no image that is read."""
    with os.scandir(root) as entries:
        folders = {e.name for e in entries if e.is_dir() and not e.name.startswith(".")}
    return tuple(sorted(folders - {name.split("/", 1)[0] for name in images}))


def _check_text(root: Path, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{root} holds {name!a}, a name that is not UTF-8 here; rename it, or run Python "
            "with PYTHONUTF8=1"
        ) from None


def _check_names(root: Path, people: list[str]) -> None:
    before: dict[str, str] = {}
    for person in people:
        if (other := before.setdefault(normal_name(person), person)) != person:
            raise ValueError(
                f"{root} holds two folders for {person}, {other!a} and {person!a}: the "
                "same letters in two forms of Unicode; put the images into one folder"
            )


def lfw_protocol(path: Path, tree: Tree) -> Pairs:
    """The pairs of a file in the form of LFW's `pairs.txt`, in its order, as indices of the files.

    Image i of `name` is `name/name_000i` with any extension, in either normal form of Unicode.
    Raises ValueError naming the line and the image where the tree has no such file, with the
    nearest name, or two of them.
    """
    index: defaultdict[str, list[int]] = defaultdict(list)
    for i, file in enumerate(tree.files):
        index[normal_name(_stem(file))].append(i)
    table = read_lfw_pairs(path)

    def side(name: str, number: str) -> np.ndarray:
        found = []
        named = zip(table[name], table[number], strict=True)
        for line, (person, i) in enumerate(named, start=2):
            image = f"{person}/{person}_{i:04d}"
            matches = index.get(normal_name(image), [])
            if len(matches) > 1:
                first, second = (tree.files[match] for match in matches[:2])
                raise ValueError(
                    f"{path}:{line} names {image}, which {tree.root} holds twice, as {first} and "
                    f"{second}; remove one of them"
                )
            if not matches:
                raise ValueError(
                    f"{path}:{line} names {image}, which is not in {tree.root}"
                    f"{_nearest(image, tree)}"
                )
            found += matches
        return np.array(found, dtype=np.int64)

    return Pairs(side("name1", "i1"), side("name2", "i2"), table["genuine"].to_numpy(bool))


def _stem(file: str) -> str:
    """A file's name without its extension; without one, a name may hold a dot ("J.R._0001")."""
    return re.sub(r"\.[A-Za-z][A-Za-z0-9]{1,4}$", "", file)


def _nearest(image: str, tree: Tree) -> str:
    """The end of an error that an image is missing: the most similar name that is there."""
    person = image.split("/", 1)[0]
    people = sorted({*tree.people})
    near = get_close_matches(normal_name(person), [normal_name(name) for name in people], 1)
    if not near:
        return ""
    files = [file for file in tree.files if normal_name(file.split("/", 1)[0]) == near[0]]
    stems = {_stem(file): file for file in files}
    closest = get_close_matches(image, stems, 1, cutoff=0)
    return f"; the nearest is {stems[closest[0]]}; rename it to <name>/<name>_NNNN if it is meant"


def tree_checksum(tree: Tree) -> str:
    """SHA-256 over every file's name and bytes, in order."""
    sha = hashlib.sha256()
    for file in tree.files:
        sha.update(file.encode() + b"\0" + (tree.root / file).read_bytes())
    return sha.hexdigest()


def decode(
    tree: Tree,
    *,
    resize: bool = False,
    bgr: bool = False,
    checksum: str | None = None,
    progress: bool | None = None,
) -> tuple[np.ndarray, str]:
    """A read-only memory map (N, 112, 112, 3) of the tree's images, and its content's digest.

    Decoded on the first call only; later calls compare names, sizes and times of the files.
    Raises ValueError naming what is wrong: a checksum, or the first unreadable image.
    """
    stats = [(tree.root / file).stat() for file in tree.files]
    listing = [(f, s.st_size, s.st_mtime_ns) for f, s in zip(tree.files, stats, strict=True)]
    key = digest(str(tree.root.resolve()), listing, resize, bgr)
    images = decoded(
        key,
        len(tree.files),
        lambda first: (tree.root / file for file in tree.files[first:]),
        lambda path: read_image(path, resize, bgr=bgr),
        progress,
    )
    actual = cached_bytes(f"{key}.sha256", lambda: tree_checksum(tree).encode()).decode()
    if checksum is not None and actual != checksum:
        raise ValueError(
            f"{tree.root} holds other images than the manifest describes: its checksum is "
            f"{actual}, expected {checksum}; fetch the data again, or set the manifest's "
            "`checksum` to null if yours are meant to differ"
        )
    return images, actual[:16]
