"""Reading an `<identity>/<image>` tree once into a memory map in the cache."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from cure_core.faces.faceset import SHAPE
from cure_core.files import atomic_path, cache_root, digest
from cure_core.progress import bar

EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


@dataclass(frozen=True)
class Tree:
    """An image folder's files in order: `files` relative to `root`, one person a subfolder."""

    root: Path
    files: tuple[str, ...]

    @property
    def people(self) -> list[str]:
        return [file.split("/", 1)[0] for file in self.files]


def list_tree(root: Path) -> Tree:
    """Every image of an `<identity>/<image>` tree, sorted by name.

    Raises ValueError where there is none.
    """
    files = sorted(
        path.relative_to(root).as_posix()
        for person in root.iterdir()
        if person.is_dir() and not person.name.startswith(".")
        for path in person.iterdir()
        if path.suffix.lower() in EXTENSIONS
    )
    if not files:
        raise ValueError(
            f"no images in {root}: expected <identity>/<image> with one of "
            f"{', '.join(sorted(EXTENSIONS))}"
        )
    return Tree(root, tuple(files))


def read_image(path: Path, resize: bool = False) -> np.ndarray:
    """One image as (112, 112, 3) uint8; grey is repeated to three channels.

    Raises ValueError naming the file where it cannot be read, or has another size and `resize`
    is off.
    """
    try:
        with Image.open(path) as image:
            rgb = image.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"cannot read the image {path}: {error}; replace or remove it") from error
    if rgb.size != SHAPE[:2]:
        if not resize:
            raise ValueError(
                f"{path} is {rgb.width} x {rgb.height} pixels, not {SHAPE[0]} x {SHAPE[1]}; "
                "align the faces to the ArcFace template, or set `resize: true` in the manifest"
            )
        rgb = rgb.resize(SHAPE[:2], Image.Resampling.BILINEAR)
    return np.asarray(rgb)


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
        _decode_to(tree, path, resize, progress)
        with atomic_path(content) as temporary:
            temporary.write_text(tree_checksum(tree))
    actual = content.read_text()
    if checksum is not None and actual != checksum:
        raise ValueError(
            f"{tree.root} holds other images than the manifest describes: its checksum is "
            f"{actual}, expected {checksum}; fetch the data again, or set the manifest's "
            "`checksum` to null if yours are meant to differ"
        )
    return np.load(path, mmap_mode="r"), actual[:16]


def _decode_to(tree: Tree, path: Path, resize: bool, progress: bool | None) -> None:
    with atomic_path(path) as temporary:
        images = np.lib.format.open_memmap(
            temporary, mode="w+", dtype=np.uint8, shape=(len(tree.files), *SHAPE)
        )
        with ThreadPoolExecutor() as pool:
            decoded = pool.map(lambda file: read_image(tree.root / file, resize), tree.files)
            for i, image in enumerate(bar(decoded, "decoding", progress, unit="image")):
                images[i] = image
        images.flush()
