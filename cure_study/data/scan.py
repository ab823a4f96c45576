"""The files below a folder: which are images, and why the others are left out."""

import os
import stat
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path

from cure_study.data.images import open_image, reads_heif

# Files with these extensions are images, and an error if they cannot be read; others are opened.
EXTENSIONS = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
HEIF = {".heic", ".heif", ".hif"}


@dataclass(frozen=True)
class Scan:
    """What lies below a folder, by name relative to it.

    `images`: size in bytes and time of change in ns; `left_out`: the reason, a name that is not
    UTF-8 with its bytes escaped; `errors`: what was raised by names and by folders to list.
    """

    images: dict[str, tuple[int, int]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)


def scan(root: Path) -> Scan:
    """Every file below `root`, at any depth, in no particular order.

    A link to a folder is followed unless that folder is read anyway, or holds `root`: circular
    links end. A file with another extension than `EXTENSIONS` counts as an image if its content
    is one. Raises OSError if `root` itself cannot be listed.
    """
    found = Scan()
    seen = {_identity(folder) for folder in root.resolve().parents}
    folders, links = [""], list[str]()
    while folders or links:
        # Links come last: a folder is read by its own name if it has one.
        folder = folders.pop() if folders else heappop(links)
        try:
            if (identity := _identity(root / folder)) in seen:
                found.left_out[printable(folder)] = "link to a folder"
                continue
            seen.add(identity)
            entries = list(os.scandir(root / folder))
        except OSError as error:
            if not folder:
                raise
            found.left_out[printable(folder)] = "folder that cannot be listed"
            found.errors[printable(folder)] = error
            continue
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if not _is_folder(entry):
                _add_file(found, name, entry)
            elif entry.is_symlink():
                heappush(links, name)
            else:
                folders.append(name)
    return found


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def printable(name: str) -> str:
    """A file's name, with the bytes escaped that are not UTF-8."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _add_file(found: Scan, name: str, entry: os.DirEntry[str]) -> None:
    if (escaped := printable(name)) != name:
        found.left_out[escaped] = "name that is not UTF-8"
        found.errors[escaped] = ValueError(
            f"{name!a}, a name that is not UTF-8 here; rename it, or run Python with PYTHONUTF8=1"
        )
        return
    reason = _reason_to_leave_out(name, entry)
    if reason is None:
        status = entry.stat()
        found.images[name] = status.st_size, status.st_mtime_ns
    else:
        found.left_out[name] = reason


def _reason_to_leave_out(name: str, entry: os.DirEntry[str]) -> str | None:
    """Why a file is left out; None for an image."""
    if any(part.startswith(".") for part in name.split("/")):
        return "hidden"
    try:
        status = entry.stat()
    except OSError:
        return "broken link"
    if not stat.S_ISREG(status.st_mode):  # a pipe must not be opened: it would wait for a writer
        return "not a regular file"
    extension = os.path.splitext(name)[1].lower()
    if extension in EXTENSIONS:
        return None
    if not status.st_size:
        return "empty"
    try:
        with open_image(Path(entry.path)) as image:
            # A camera's raw file is a TIFF by its content, with a thumbnail for an image.
            if image.format != "TIFF" or not extension:
                return None
    except Exception:  # a broken file can make a decoder raise anything
        pass
    if extension in HEIF:
        needed = f"{extension} (pip install 'cure-core[heic]' to read it)"
        return "unreadable" if reads_heif() else needed
    return extension or "without extension"
