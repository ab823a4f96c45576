"""CSV files whose columns have types: every value that does not fit is an error naming its line."""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Row = dict[str, Any]  # of text, int, float, bool and None
INTEGER = re.compile(r"[+-]?[0-9]{1,300}")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|nan|[+-]?inf")


class Digest(str):
    """The type of a column of digests as `files.digest` writes them: text, 16 hex digits."""


class Json(str):
    """The type of a column of JSON mappings, as text."""


TYPE_NAMES: dict[type | None, str] = {
    str: "text",
    Digest: "16 hex digits (a spreadsheet may have changed them)",
    Json: "a JSON mapping",
    int: "a whole number",
    float: "a number",
    None: "a number",
}


@dataclass(frozen=True)
class Schema:
    """The columns that identify a row, and the types of those that do not hold plain numbers.

    A type is str, Digest, Json, int or float; a column without one holds numbers or bools.
    """

    key: tuple[str, ...]
    types: Mapping[str, type] = field(default_factory=dict)

    def parse(self, name: str, cell: str) -> Any:
        """The value of a cell of a CSV file.

        Raises ValueError if it is not of the column's type.
        """
        kind = self.types.get(name)
        if cell == "":
            return None
        if kind in (int, None) and INTEGER.fullmatch(cell):
            return int(cell)
        if kind in (float, None) and NUMBER.fullmatch(cell):
            return float(cell)
        if kind is None and cell in ("True", "False"):
            return cell == "True"
        return self.check(name, cell)

    def check(self, name: str, value: Any) -> Any:
        """The value of a column, NumPy scalars converted to Python's.

        Raises ValueError if it is not of the column's type.
        """
        value = value.item() if isinstance(value, np.generic) else value
        kind = self.types.get(name)
        if value is None and name not in self.key:
            return None
        if kind is float and type(value) is int:
            return float(value)
        if not _has_type(value, kind):
            raise ValueError(f"{name} is {value!r}; expected {TYPE_NAMES[kind]}")
        return value

    def key_of(self, row: Row) -> str:
        """The text that identifies a row. Raises ValueError if a part of the key is missing."""
        if missing := [name for name in self.key if row.get(name) is None]:
            raise ValueError(f"no value for {', '.join(missing)}, which identifies a row")
        return json.dumps([row[name] for name in self.key])


def read_csv(path: str | Path, schema: Schema) -> list[Row]:
    """The rows of a CSV file, typed by a schema; an empty cell is None.

    Raises FileNotFoundError, and ValueError naming the file and line if it is not a table of this
    schema: a missing column, an incomplete line, a value of another type, a repeated key.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error}") from error
    if not text:
        raise ValueError(f"{path} is empty, without even a header; restore it, or remove it")
    if not text.endswith("\n"):
        raise ValueError(f"{path} ends within a line; restore it, or remove its last line")
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: dict[str, tuple[int, Row]] = {}
    try:
        header = next(lines)
        if missing := [name for name in schema.key if name not in header]:
            raise ValueError(f"no column {', '.join(missing)}, which identifies a row")
        if len(set(header)) < len(header):
            raise ValueError("a column is named twice")
        for cells in filter(None, lines):
            if len(cells) != len(header):
                raise ValueError(f"{len(cells)} values for {len(header)} columns")
            named = zip(header, cells, strict=True)
            row = {name: schema.parse(name, cell) for name, cell in named}
            earlier, _ = rows.setdefault(schema.key_of(row), (lines.line_num, row))
            if earlier != lines.line_num:
                raise ValueError(f"the same key as line {earlier}; remove one of them")
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}, line {lines.line_num}: {error}") from error
    return [row for _, row in rows.values()]


def to_frame(rows: Iterable[Row], schema: Schema) -> pd.DataFrame:
    """Rows as a table; without any rows, it has the columns of the key."""
    table = pd.DataFrame(list(rows))
    if table.empty:
        return pd.DataFrame(columns=list(schema.key))
    empty = [name for name in table if table[name].isna().all()]
    return table.astype(dict.fromkeys(empty, float))


def _has_type(value: Any, kind: type | None) -> bool:
    if kind is None:
        return type(value) in (int, float, bool)
    if not issubclass(kind, str):
        return type(value) is kind
    if type(value) is not str or value == "":  # in a CSV file "" means that there is no value
        return False
    if kind is Json:
        try:
            return isinstance(json.loads(value), dict)
        except ValueError:
            return False
    return kind is not Digest or re.fullmatch("[0-9a-f]{16}", value) is not None
