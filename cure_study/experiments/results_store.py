"""Tables of results that grow a row at a time, typed by a schema and shared by processes.

from cure_study.experiments.results_store import Schema, Table

table = Table("rows.csv", Schema(("method", "seed"), {"method": str, "seed": int}))
table.once({"method": "cure", "seed": 0}, lambda: {"ues": 0.5})

A table is a CSV file, which people read and commit. Next to it, in a hidden folder, are a SQLite
file with the same rows, typed, each with its SHA-256, and the locks of the rows in progress. A row
is committed to SQLite first, then the CSV file is exported. If something else has changed the CSV
file since (git, an editor), its rows replace those in SQLite. If one of the two files is damaged on
the disk, a warning names it and it is restored from the other.
"""

import hashlib
import json
import sqlite3
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from filelock import Timeout

from cure_core.files import atomic_path, digest, file_sha256
from cure_study.experiments.typed_csv import Digest, Json, Row, Schema, read_csv, to_frame
from cure_study.paths import locked

__all__ = ["Digest", "Json", "Row", "Schema", "Table", "read_csv", "run_jobs", "to_frame"]

Job = TypeVar("Job")
# SQLite's error codes after which the file itself may be intact.
DISK_ERRORS = {
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_FULL),
    *(sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM),
}
# `csv` describes the exported file when last read or written, and an export in progress.
TABLES = """
create table if not exists rows (key text primary key, row text not null, sha256 text not null);
create table if not exists csv (id integer primary key, sha256 text, mtime integer, pending text);
insert or ignore into csv (id) values (0);
"""


class Table:
    """The rows of a CSV file.

    `arrange` orders the exported table and may add columns; `replaces(new, old)` says whether a new
    row removes an old one with another key. Every method raises ValueError, naming file and line,
    if the CSV file does not fit the schema, and OSError if a file cannot be read or written.
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
        self._cached: tuple[str | None, list[Row]] | None = None  # the CSV file's digest, its rows

    def rows(self) -> pd.DataFrame:
        """All rows, in the order in which they were added."""
        return to_frame(self.find({}), self.schema)

    def find(self, values: Mapping[str, Any]) -> list[Row]:
        """The rows with these values, in the order in which they were added."""
        wanted = self._checked(values)
        if self._cached is None or self._cached[0] != self._csv_sha256():
            with self._open() as database:
                self._cached = self._csv_sha256(), list(_rows(database).values())
        return [
            row
            for row in self._cached[1]
            if all(row.get(name) == value for name, value in wanted.items())
        ]

    def put(self, row: Mapping[str, Any]) -> None:
        """Add a row, replacing an earlier one with the same key, and export the table."""
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
        """Make sure that there is a row with the values `wanted`; `make` returns the other values.

        `wanted` includes the key. The process that computes a row holds its lock meanwhile. Returns
        False, with nothing done, if another process is computing it and `wait` is False.
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
        """Hold the lock of the row with this key, or of anything else that `names` identify.

        Raises filelock.Timeout if another process holds it and `wait` is False.
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
        """The SQLite file, locked, with the rows of the CSV file."""
        with locked(self._store), closing(self._connect()) as database:
            try:
                self._synchronise(database)
                yield database
            except sqlite3.OperationalError as error:  # a full disk, a read-only folder
                raise OSError(f"{self._store} cannot be written: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        """A connection to the SQLite file; a damaged file is replaced by an empty one."""
        database = sqlite3.connect(self._store)
        try:
            _verify(database)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            database.close()
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in DISK_ERRORS:
                raise OSError(f"{self._store} cannot be opened: {error}") from error
            _warn_damaged(self._store, str(error), self.path)
            self._store.unlink()
            return self._connect()
        return database

    def _synchronise(self, database: sqlite3.Connection) -> None:
        """Finish an interrupted export, restore a damaged CSV file, or read a changed one."""
        exported, mtime, pending = database.execute(
            "select sha256, mtime, pending from csv"
        ).fetchone()
        found = self._csv_sha256()
        if found is not None and found == pending:
            self._record_export(database, pending)
        elif found == exported:
            if pending is not None:
                self._write_csv(database, self._content(database))
        elif found is not None and self.path.stat().st_mtime_ns == mtime:  # nothing has written it
            _warn_damaged(self.path, "its bytes changed on the disk", self._store)
            self._write_csv(database, self._content(database))
        else:
            rows = [] if found is None else read_csv(self.path, self.schema)
            with database:
                database.execute("delete from rows")
                for row in rows:
                    _insert(database, self.schema.key_of(row), row)
                self._record_export(database, found)

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
        self._record_export(database, _sha256(content))

    def _record_export(self, database: sqlite3.Connection, sha256: str | None) -> None:
        mtime = self.path.stat().st_mtime_ns if sha256 else None
        with database:
            database.execute(
                "update csv set sha256 = ?, mtime = ?, pending = null", [sha256, mtime]
            )


def run_jobs(jobs: Iterable[Job], run: Callable[[Job, bool], bool]) -> None:
    """Run every job, starting with those that no other process is running.

    `run(job, wait)` returns False if another process is running the job and `wait` is False.
    """
    busy = [job for job in jobs if not run(job, False)]
    for job in busy:
        run(job, True)


def _warn_damaged(path: Path, reason: str, source: Path) -> None:
    warnings.warn(f"{path} is damaged ({reason}); it is restored from {source}", stacklevel=2)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _verify(database: sqlite3.Connection) -> None:
    """Create the tables of a new file. Raises sqlite3.DatabaseError if a page or row is damaged."""
    database.executescript(TABLES)
    if (found := database.execute("pragma quick_check(1)").fetchone()[0]) != "ok":
        raise sqlite3.DatabaseError(found)
    database.execute("select sha256, mtime, pending from csv").fetchone()
    for key, row, sha256 in database.execute("select key, row, sha256 from rows"):
        if _sha256(f"{key}{row}".encode()) != sha256:
            raise sqlite3.DatabaseError(f"the row {key} does not match its SHA-256")


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
