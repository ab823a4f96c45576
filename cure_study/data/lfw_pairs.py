"""LFW's list of verification pairs."""

import re
from pathlib import Path

import pandas as pd

from cure_study.data.text import normal_name, read_text, split_lines


def read_lfw_pairs(path: str | Path) -> pd.DataFrame:
    """Read LFW's `pairs.txt`: for each fold its genuine pairs, then its impostor pairs.

    The first line holds the number of folds F and of pairs of each kind in a fold M, or M alone
    for one fold (`pairsDevTest.txt`); then come 2 * F * M lines, `name i j` for a genuine pair and
    `name i other j` for an impostor pair, separated by tabs. UTF-8, with or without a byte-order
    mark, with any line ends; blank lines at the end are ignored.
    Returns F * 2 * M rows with columns name1, i1, name2, i2 (image numbers from 1, as in the file
    names), genuine (bool) and fold (from 0); row k is line k + 2.
    Source: Labeled Faces in the Wild (http://vis-www.cs.umass.edu/lfw/). Raises ValueError with
    the file and the line number for a line that is malformed, pairs an image with itself or calls
    one person an impostor, and with both counts for missing or surplus lines.
    """
    header, *lines = split_lines(read_text(Path(path)).rstrip())
    counts = header.split()
    if not 1 <= len(counts) <= 2 or not all(map(_is_number, counts)):
        raise ValueError(
            f"{path}:1: expected 'folds<TAB>pairs of a kind', or the latter alone, got {header!r}"
        )
    folds, each = map(int, counts if len(counts) == 2 else ("1", *counts))
    if not folds * each or len(lines) != 2 * folds * each:
        raise ValueError(
            f"{path}: line 1 announces {2 * folds * each} pairs, {len(lines)} lines follow."
        )
    rows = []
    for k, line in enumerate(lines):
        genuine = k % (2 * each) < each
        name1, i1, name2, i2 = _pair(line, genuine, f"{path}:{k + 2}")
        rows.append((name1, i1, name2, i2, genuine, k // (2 * each)))
    return pd.DataFrame(rows, columns=["name1", "i1", "name2", "i2", "genuine", "fold"])


def _pair(line: str, genuine: bool, place: str) -> tuple[str, int, str, int]:
    """The two images of a line. Raises ValueError that begins with `place`."""
    fields = [field.strip() for field in line.split("\t")]
    if genuine:
        fields.insert(2, fields[0])  # both images are of one person
    if len(fields) != 4 or not all(fields) or not all(map(_is_number, fields[1::2])):
        form = "name, i, j" if genuine else "name, i, other name, j"
        raise ValueError(f"{place}: expected '{form}' between tabs, got {line!r}")
    name1, i1, name2, i2 = fields[0], int(fields[1]), fields[2], int(fields[3])
    if genuine and i1 == i2:
        raise ValueError(f"{place} pairs image {i1} of {name1} with itself")
    if not genuine and normal_name(name1) == normal_name(name2):
        raise ValueError(f"{place} calls two images of {name1} an impostor pair")
    return name1, i1, name2, i2


def _is_number(text: str) -> bool:
    return re.fullmatch("[0-9]{1,9}", text) is not None  # int() takes "1_0" and "-1" too
