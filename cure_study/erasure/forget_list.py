"""Reading a request's list: which images of a folder it takes."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cure_study.data.scan import EXTENSIONS, HEIF
from cure_study.data.text import read_text, split_lines
from cure_study.erasure.content import match_content
from cure_study.erasure.decoding import Align
from cure_study.erasure.images import ImageFolder
from cure_study.erasure.names import Match, Names

COLUMNS = ("path", "file", "filename", "image")
NAMED = 10  # bad lines that an error names


@dataclass(frozen=True, eq=False)
class ListedImages:
    """What a list takes.

    `index` (F,) int64, sorted and unique: positions in the folder's `files`; `lines`: each line
    as written, and how many images it took (several lines may take the same image).
    """

    index: np.ndarray
    lines: tuple[tuple[str, int], ...]


def read_list(
    path: str | Path,
    folder: ImageFolder,
    *,
    column: str | None = None,
    align: Align | None = None,
) -> ListedImages:
    """The images of `folder` that a text file, a CSV file or a folder of images takes.

    A line of a text file (UTF-8) is the path of an image, a folder, or a glob (`*`, `?` and
    `[...]` within a folder, `**` for any folders), relative to the image folder or absolute.
    Blank lines are ignored, and lines from `#` on that are not an image's name. A CSV file has a
    line a row in its `column` (by default the first there is of `COLUMNS`); only there can a name
    hold a newline. Letters compare equal in any form of Unicode. The images of a folder are
    compared by their bytes, then by their pixels once decoded like `folder`, with the same
    `align`; its hidden files are ignored.
    Raises FileNotFoundError without a list; ValueError naming the first ten lines (or files) that
    take no image, with the reason or the nearest names; and if the list takes none or all.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"no list at {path}; name a text file, a CSV file, or a folder of images"
        )
    matches = list(
        match_content(path, folder, align) if path.is_dir() else _match(path, folder, column)
    )
    if not matches:
        raise ValueError(f"{path} names no image; write a path a line, relative to {folder.root}")
    _check(path, matches)
    index = np.unique(np.array([i for match in matches for i in match.images], np.int64))
    if len(index) == len(folder.files):
        raise ValueError(
            f"{path} takes all {len(index):,} images of {folder.root}; nothing would be left"
        )
    return ListedImages(index, tuple((match.text, len(match.images)) for match in matches))


def _check(path: Path, matches: list[Match]) -> None:
    bad = [(match, match.problem) for match in matches if match.problem]
    if bad:
        count = "1 entry takes" if len(bad) == 1 else f"{len(bad):,} entries take"
        named = "".join(f"\n  {m.place}{m.text!r} {problem()}" for m, problem in bad[:NAMED])
        more = f"\n  and {len(bad) - NAMED:,} more" if len(bad) > NAMED else ""
        raise ValueError(f"{path}: {count} no image; correct or remove:{named}{more}")


def _match(path: Path, folder: ImageFolder, column: str | None) -> Iterator[Match]:
    """What each line of a text or CSV file takes."""
    extension = path.suffix.lower()
    if extension in EXTENSIONS | HEIF:
        raise ValueError(
            f"{path} is an image, not a list; name it in a text file, or name its folder"
        )
    names = Names(folder)
    if extension in (".csv", ".tsv") or column is not None:
        rows = _read_column(path, column)
    else:
        rows = (
            (number, line)
            for number, line in enumerate(split_lines(read_text(path)), 1)
            if line.strip() and (not line.lstrip().startswith("#") or names.has_file(line))
        )
    for number, line in rows:
        yield names.match(line, f"line {number}: ")


def _read_column(path: Path, column: str | None) -> Iterator[tuple[int, str]]:
    """Line number and value of each row in a column; the header shows what separates columns."""
    text = read_text(path)
    header = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
    try:
        names = [name.strip() for name in next(reader, [])]
        wanted = [column] if column is not None else [name for name in COLUMNS if name in names]
        if not wanted or wanted[0] not in names:
            expected = repr(column) if column is not None else f"one of {', '.join(COLUMNS)}"
            raise ValueError(f"{path} has no column {expected}; it has {', '.join(names)}")
        position = names.index(wanted[0])
        for row in reader:
            if row:
                yield reader.line_num, row[position] if position < len(row) else ""
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}; save it as CSV") from None


def check_disjoint(forget: np.ndarray, retain: np.ndarray, folder: ImageFolder) -> None:
    """Raise ValueError if two lists' images overlap, naming the first that are in both."""
    both = np.intersect1d(forget, retain)
    if len(both):
        named = ", ".join(folder.files[i] for i in both[:3]) + ", ..." * (len(both) > 3)
        images = "1 image is" if len(both) == 1 else f"{len(both):,} images are"
        raise ValueError(
            f"{images} both to forget and to retain: {named}; remove them from one of the lists"
        )
