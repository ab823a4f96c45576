"""Tables of results that grow a row at a time, typed by a schema and shared by processes.

from cure_study.experiments.results_store import Schema, Table

table = Table("rows.csv", Schema(("method", "seed"), {"method": str, "seed": int}))
table.once({"method": "cure", "seed": 0}, lambda: {"ues": 0.5})

A table is a CSV file, which people read and commit. Beside it, in a hidden folder, lie a SQLite
file with the same rows, typed, each with a digest, and the locks of the rows in progress. A row is
committed there first, then exported. A CSV file that something else has written since (git, an
editor) replaces the rows. Where one of the two files is damaged on the disk, a warning names it,
and it is made again from the other.
"""

import csv
import hashlib
import io
import json
import re
import sqlite3
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from filelock import Timeout

from cure_core.files import atomic_path, digest, file_sha256
from cure_study.paths import locked

Row = dict[str, Any]  # of text, int, float, bool and None
Job = TypeVar("Job")
INTEGER = re.compile(r"[+-]?[0-9]{1,300}")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|nan|[+-]?inf")
DISK_ERRORS = {
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_FULL),
    *(sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED),
}  # with which the file itself may be whole
# `csv` is the exported file: as it was last seen, and the digest of an export in progress.
TABLES = """
create table if not exists rows (key text primary key, row text not null, sha256 text not null);
create table if not exists csv (id integer primary key, sha256 text, mtime integer, pending text);
insert or ignore into csv (id) values (0);
"""


class Digest(str):
    """The type of a column of digests as `files.digest` writes them: text, 16 hex digits."""


class Json(str):
    """The type of a column of JSON mappings, as text."""


NAMES: dict[type | None, str] = {
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

    A type is str, Digest, Json, int or float; a column without one holds numbers or bools. Where
    `types` is None a column may hold text too; only the SQLite file keeps its types then, for a
    CSV file does not distinguish text of digits from a number. Without a `key` the whole row is it.
    """

    key: tuple[str, ...] = ()
    types: Mapping[str, type] | None = None

    def parse(self, name: str, cell: str) -> Any:
        """The value of a cell of a CSV file. Raises ValueError where it is not of its type."""
        kind = (self.types or {}).get(name)
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
        """A value of a column; NumPy's scalars become Python's.

        Raises ValueError where it is not of the column's type.
        """
        value = value.item() if isinstance(value, np.generic) else value
        kind = (self.types or {}).get(name)
        if value is None and name not in self.key:
            return None
        if kind is float and type(value) is int:
            return float(value)
        if not _fits(value, kind, self.types is None):
            raise ValueError(f"{name} is {value!r}; expected {NAMES[kind]}")
        return value

    def key_of(self, row: Row) -> str:
        """The text that identifies a row. Raises ValueError where it lacks a part of its key."""
        if lacking := [name for name in self.key if row.get(name) is None]:
            raise ValueError(f"no value for {', '.join(lacking)}, which identifies a row")
        return json.dumps([row[name] for name in self.key] if self.key else row)


class Table:
    """The rows in a CSV file.

    `arrange` orders the exported table and may add columns; `replaces(new, old)` is whether a new
    row removes an old one of another key. Every method raises ValueError naming the file and line
    where the CSV file does not fit the schema, and OSError where a file cannot be read or written.
    """

    def __init__(
        self,
        path: str | Path,
        schema: Schema,
        *,
        arrange: Callable[[pd.DataFrame], pd.DataFrame] = lambda table: table,
        replaces: Callable[[Row, Row], bool] = lambda new, old: False,
    ) -> None:
        self.path, self.schema = Path(path), schema
        self._arrange, self._replaces = arrange, replaces
        self._folder = self.path.with_name(f".{self.path.stem}.store")
        self._store = self._folder / "rows.sqlite"
        self._known: tuple[str | None, list[Row]] | None = None  # and the CSV file's digest then

    def rows(self) -> pd.DataFrame:
        """All rows, in the order in which they were added."""
        return to_frame(self.find({}), self.schema)

    def find(self, values: Mapping[str, Any]) -> list[Row]:
        """The rows that hold these values, in the order in which they were added."""
        wanted = self._checked(values)
        if self._known is None or self._known[0] != self._csv_sha256():
            with self._open() as database:
                self._known = self._csv_sha256(), list(_rows(database).values())
        return [row for row in self._known[1] if _holds(row, wanted)]

    def put(self, row: Mapping[str, Any]) -> None:
        """Add a row, in the place of an earlier one of the same key, and export the table."""
        row = self._checked(row)
        with self._open() as database:
            with database:
                stale = [k for k, old in _rows(database).items() if self._replaces(row, old)]
                database.executemany("delete from rows where key = ?", [(key,) for key in stale])
                _insert(database, self.schema.key_of(row), row)
                content = self._content(database)
                database.execute("update csv set pending = ?", [_sha256(content)])
            self._write_csv(database, content)

    def once(
        self, wanted: Mapping[str, Any], make: Callable[[], Mapping[str, Any]], wait: bool = True
    ) -> bool:
        """Make sure that there is a row with the values `wanted`: these, and what `make` returns.

        `wanted` holds the key. One process makes a row, and holds its lock meanwhile. False, with
        nothing done, where another is making it and this one does not `wait`.
        """
        if self.find(wanted):
            return True
        key = {name: wanted[name] for name in self.schema.key}
        try:
            with self.claim(*key.values(), wait=wait):
                if not self.find(wanted):
                    self.put({**key, **make(), **wanted})
        except Timeout:
            return False
        return True

    @contextmanager
    def claim(self, *names: object, wait: bool = True) -> Iterator[None]:
        """Hold the lock of the row of this key, or of whatever else `names` stand for.

        Raises filelock.Timeout where another process holds it and this one does not `wait`.
        """
        with locked(self._folder / digest(*names)).acquire(blocking=wait):
            yield

    def _checked(self, row: Mapping[str, Any]) -> Row:
        try:
            return {name: self.schema.check(name, value) for name, value in row.items()}
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The SQLite file, locked, holding what the CSV file holds."""
        with locked(self._store), closing(self._connect()) as database:
            try:
                self._synchronise(database)
                yield database
            except sqlite3.OperationalError as error:  # a full disk, a read-only folder
                raise OSError(f"{self._store} cannot be written: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        """A connection to the SQLite file; one that is damaged is made again from the CSV file."""
        try:
            return _connected(self._store)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in DISK_ERRORS:
                raise OSError(f"{self._store} cannot be opened: {error}") from error
            _warn_damaged(self._store, str(error), self.path)
            self._store.unlink()
            return _connected(self._store)

    def _synchronise(self, database: sqlite3.Connection) -> None:
        """Finish an export that was cut off, or take in a CSV file that others have written."""
        sha256, mtime, pending = _export(database)
        found = self._csv_sha256()
        if pending is not None and found == pending:
            self._seen(database, pending)
        elif pending is not None and found == sha256:
            self._write_csv(database, self._content(database))
        elif found != sha256:
            if found and self.path.stat().st_mtime_ns == mtime:  # nothing has written to it
                _warn_damaged(self.path, "its bytes changed on the disk", self._store)
                return self._write_csv(database, self._content(database))
            rows = read_csv(self.path, self.schema) if found else []
            with database:
                database.execute("delete from rows")
                for row in rows:
                    _insert(database, self.schema.key_of(row), row)
                self._seen(database, found)

    def _csv_sha256(self) -> str | None:
        return file_sha256(self.path) if self.path.exists() else None

    def _content(self, database: sqlite3.Connection) -> bytes:
        table = self._arrange(to_frame(_rows(database).values(), self.schema))
        return table.to_csv(index=False, lineterminator="\n").encode()

    def _write_csv(self, database: sqlite3.Connection, content: bytes) -> None:
        try:
            with atomic_path(self.path) as temporary:
                temporary.write_bytes(content)
        except OSError as error:  # the row is in the SQLite file; the next call exports it
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self._seen(database, _sha256(content))

    def _seen(self, database: sqlite3.Connection, sha256: str | None) -> None:
        """Record the CSV file as it is now."""
        seen = sha256, self.path.stat().st_mtime_ns if sha256 else None
        with database:
            database.execute("update csv set sha256 = ?, mtime = ?, pending = null", seen)


def run_jobs(jobs: Iterable[Job], do: Callable[[Job, bool], bool]) -> None:
    """Do every job, but first those that no other process is doing.

    `do(job, wait)` returns False where another process is doing the job and it does not `wait`.
    """
    busy = [job for job in jobs if not do(job, False)]
    for job in busy:
        do(job, True)


def read_csv(path: str | Path, schema: Schema) -> list[Row]:
    """The rows of a CSV file, typed by a schema; an empty cell is None.

    Raises FileNotFoundError, and ValueError naming the file and line where it is not a table of
    this schema: a missing column, an incomplete line, a value of another type, a repeated key.
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
        if lacking := [name for name in schema.key if name not in header]:
            raise ValueError(f"no column {', '.join(lacking)}, which identifies a row")
        if len(set(header)) < len(header):
            raise ValueError("a column is named twice")
        for cells in lines:
            if not cells:
                continue
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
    """Rows as a table, with the columns of the key where there are none."""
    table = pd.DataFrame(list(rows))
    if table.empty:
        return pd.DataFrame(columns=list(schema.key))
    empty = [name for name in table if table[name].isna().all()]
    return table.astype(dict.fromkeys(empty, float))


def _fits(value: Any, kind: type | None, text_too: bool) -> bool:
    """Whether a value is of a column's type."""
    if kind is None:
        return type(value) in (int, float, bool) or (
            text_too and type(value) is str and value != ""
        )
    if not issubclass(kind, str):
        return type(value) is kind
    if type(value) is not str or value == "":  # a CSV file does not tell "" from no value
        return False
    if kind is Json:
        try:
            return isinstance(json.loads(value), dict)
        except ValueError:
            return False
    return kind is not Digest or re.fullmatch("[0-9a-f]{16}", value) is not None


def _holds(row: Row, wanted: Row) -> bool:
    return all(row.get(name) == value for name, value in wanted.items())


def _warn_damaged(path: Path, reason: str, source: Path) -> None:
    warnings.warn(f"{path} is damaged ({reason}); it is made again from {source}", stacklevel=2)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _connected(store: Path) -> sqlite3.Connection:
    """A connection to a SQLite file of which every page and row is what was written."""
    database = sqlite3.connect(store)
    try:
        database.executescript(TABLES)
        if (found := database.execute("pragma quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(found)
        _export(database)
        for key, row, sha256 in database.execute("select key, row, sha256 from rows"):
            if _sha256(f"{key}{row}".encode()) != sha256:
                raise sqlite3.DatabaseError(f"the row {key} does not match its SHA-256")
    except BaseException:
        database.close()
        raise
    return database


def _export(database: sqlite3.Connection) -> tuple[str | None, int | None, str | None]:
    """Digest and time of the CSV file as last seen, and the digest of an export in progress."""
    found = database.execute("select sha256, mtime, pending from csv where id = 0").fetchone()
    return tuple(found)


def _rows(database: sqlite3.Connection) -> dict[str, Row]:
    """All rows by key, in the order in which they were added."""
    found = database.execute("select key, row from rows order by rowid")
    return {key: json.loads(row) for key, row in found}


def _insert(database: sqlite3.Connection, key: str, row: Row) -> None:
    text = json.dumps(row)
    database.execute(
        "insert into rows values (?, ?, ?) "
        "on conflict (key) do update set row = excluded.row, sha256 = excluded.sha256",
        [key, text, _sha256(f"{key}{text}".encode())],
    )
