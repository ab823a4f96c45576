"""Reading an `<identity>/<image>` tree once into a memory map in the cache."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cure_core.faces.decoding import decoded, once, read_image
from cure_core.files import digest
from cure_core.pairs import Pairs, read_lfw_pairs

EXTENSIONS = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Tree:
    """An image folder's files in order: `files` relative to `root`, one person a subfolder."""

    root: Path
    files: tuple[str, ...]

    @property
    def people(self) -> list[str]:
        """Whose picture each file is: its subfolder's name."""
        return [file.split("/", 1)[0] for file in self.files]


def list_tree(root: Path) -> Tree:
    """Every image of an `<identity>/<image>` tree, sorted by name; hidden files are passed over.

    Raises ValueError where there is none, and naming the first image that lies a level too high
    or too low.
    """
    files = _images(root, "*/*")
    misplaced = _images(root, "*") + _images(root, "*/*/*")
    if misplaced:
        raise ValueError(
            f"{len(misplaced)} images in {root} are not in the form <identity>/<image> (first: "
            f"{misplaced[0]}); move each into the folder of its person"
        )
    if not files:
        raise ValueError(
            f"no images in {root}: expected <identity>/<image> with one of "
            f"{', '.join(sorted(EXTENSIONS))}"
        )
    return Tree(root, tuple(files))


def _images(root: Path, pattern: str) -> list[str]:
    found = (path for path in root.glob(pattern) if path.suffix.lower() in EXTENSIONS)
    names = (path.relative_to(root).as_posix() for path in found if path.is_file())
    return sorted(name for name in names if not any(p.startswith(".") for p in name.split("/")))


def lfw_protocol(path: Path, tree: Tree) -> Pairs:
    """The pairs of a file in the form of LFW's `pairs.txt`, in its order, as indices of the files.

    Image i of `name` is `name/name_000i` with any extension. Raises ValueError naming the line and
    the image where the tree has no such file.
    """
    index = {file.rsplit(".", 1)[0]: i for i, file in enumerate(tree.files)}
    table = read_lfw_pairs(path)

    def side(name: str, number: str) -> np.ndarray:
        wanted = [f"{n}/{n}_{i:04d}" for n, i in zip(table[name], table[number], strict=True)]
        for line, image in enumerate(wanted, start=2):
            if image not in index:
                raise ValueError(f"{path}:{line} names {image}, which is not in {tree.root}")
        return np.array([index[image] for image in wanted], dtype=np.int64)

    return Pairs(side("name1", "i1"), side("name2", "i2"), table["genuine"].to_numpy(bool))


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
    actual = once(f"{key}.sha256", lambda: tree_checksum(tree))
    if checksum is not None and actual != checksum:
        raise ValueError(
            f"{tree.root} holds other images than the manifest describes: its checksum is "
            f"{actual}, expected {checksum}; fetch the data again, or set the manifest's "
            "`checksum` to null if yours are meant to differ"
        )
    return images, actual[:16]
