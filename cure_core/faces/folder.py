"""Reading an `<identity>/<image>` tree once into a memory map in the cache."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from cure_core.faces.faceset import SHAPE
from cure_core.files import atomic_path, cache_root, digest
from cure_core.pairs import Pairs, read_lfw_pairs
from cure_core.progress import bar

EXTENSIONS = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
CHUNK = 256  # images decoded ahead of the one being written


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


def read_image(path: Path, resize: bool = False) -> np.ndarray:
    """One image as (112, 112, 3) uint8; grey is repeated to three channels, transparency dropped.

    Raises ValueError naming the file where it cannot be read to its end, has more than 8 bits a
    channel, or has another size and `resize` is off.
    """
    try:
        with Image.open(path) as image:
            mode = image.mode
            rgb = ImageOps.exif_transpose(image).convert("RGB")
    except Exception as error:  # a broken file can make a decoder raise anything
        raise ValueError(f"cannot read the image {path}: {error}; replace or remove it") from error
    if mode.startswith(("I", "F")):
        raise ValueError(f"{path} has more than 8 bits a channel ({mode}); save it with 8")
    if rgb.size != SHAPE[:2]:
        if not resize:
            raise ValueError(
                f"{path} is {rgb.width} x {rgb.height} pixels, not {SHAPE[0]} x {SHAPE[1]}; "
                "align the faces to the ArcFace template, or set `resize: true` in the manifest"
            )
        rgb = rgb.resize(SHAPE[:2], Image.Resampling.BILINEAR)
    return np.asarray(rgb)


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
    tree: Tree, *, resize: bool, checksum: str | None, progress: bool | None = None
) -> tuple[np.ndarray, str]:
    """A read-only memory map (N, 112, 112, 3) of the tree's images, and its content's digest.

    Decoded on the first call only; later calls compare names, sizes and times of the files.
    Raises ValueError naming what is wrong: a checksum, or the first unreadable image.
    """
    stats = [(tree.root / file).stat() for file in tree.files]
    listing = [(f, s.st_size, s.st_mtime_ns) for f, s in zip(tree.files, stats, strict=True)]
    key = digest(str(tree.root.resolve()), listing, resize)
    folder = cache_root() / "faces"
    path, content = folder / f"{key}.npy", folder / f"{key}.sha256"
    if not (path.is_file() and content.is_file()):
        with atomic_path(path) as images, atomic_path(content) as text:
            write_map(images, len(tree.files), _decoded(tree, resize, progress))
            text.write_text(tree_checksum(tree))
    actual = content.read_text()
    if checksum is not None and actual != checksum:
        raise ValueError(
            f"{tree.root} holds other images than the manifest describes: its checksum is "
            f"{actual}, expected {checksum}; fetch the data again, or set the manifest's "
            "`checksum` to null if yours are meant to differ"
        )
    return np.load(path, mmap_mode="r"), actual[:16]


def _decoded(tree: Tree, resize: bool, progress: bool | None) -> Iterator[np.ndarray]:
    paths = [tree.root / file for file in tree.files]
    with ThreadPoolExecutor() as pool, bar(paths, "decoding", progress, "image") as count:
        for first in range(0, len(paths), CHUNK):
            for image in pool.map(lambda p: read_image(p, resize), paths[first : first + CHUNK]):
                yield image
                count.update()


def write_map(path: Path, count: int, images: Iterable[np.ndarray]) -> None:
    """Write `count` images (112, 112, 3) uint8 to a `.npy` file, one at a time.

    Plain writing, since a full disk then raises OSError; under a writable memory map it would
    end the process.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, *SHAPE)}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for image in images:
            file.write(image.tobytes())
        file.flush()
        os.fsync(file.fileno())
