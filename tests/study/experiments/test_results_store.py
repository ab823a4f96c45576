"""Tables of results: types, other writers, other processes, damage, and the committed tables."""

import itertools
import json
import multiprocessing
import os
import random
import shutil
import sqlite3
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import Timeout

from cure_study.experiments.results_store import (
    Digest,
    Json,
    Schema,
    Table,
    read_csv,
    run_jobs,
    to_frame,
)

FIGURES = Path(__file__).parents[3] / "figures"
SCHEMA = Schema(
    ("setting", "seed"),
    {"setting": Digest, "seed": int, "name": str, "settings": Json, "share": float},
)
KEY = {"setting": "1234567890123456", "seed": 0}
LIKE_NUMBERS = [
    "1234567890123456", "12345e7890123456", "0012345678901234", "1e10", "nan", "inf", "True", "0x1",
]  # fmt: skip
forked = pytest.mark.skipif(not hasattr(os, "fork"), reason="a fork is quick to start")


def written(path, text):
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def flip(path, where):
    """Change one byte as a bad disk does: the times of the file stay."""
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    path.write_bytes(bytes(content))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


# Types


@pytest.mark.parametrize("text", LIKE_NUMBERS)
def test_text_stays_text_through_the_store_and_through_the_csv_alone(tmp_path, text):
    schema = Schema(("name",), {"name": str})
    Table(tmp_path / "a.csv", schema).put({"name": text, "value": 1})
    shutil.copy(tmp_path / "a.csv", tmp_path / "b.csv")  # a clone has no store
    for name in ("a.csv", "b.csv"):
        (row,) = Table(tmp_path / name, schema).find({"name": text})
        assert row == {"name": text, "value": 1}


def test_values_come_back_with_their_types(tmp_path):
    row = {
        **KEY, "name": "two\nlines, a \"quote\" and ü", "settings": '{"a": 1e-3}',
        "share": 0.1 + 0.2, "small": 5e-324, "large": 12345678901234567890, "yes": True,
        "none": None, "inf": -np.inf,
    }  # fmt: skip
    table = Table(tmp_path / "rows.csv", SCHEMA)
    table.put({**row, "numpy": np.float64(0.1), "count": np.int64(3), "flag": np.bool_(False)})
    expected = {**row, "numpy": 0.1, "count": 3, "flag": False}
    for found in (Table(tmp_path / "rows.csv", SCHEMA).find({}), read_csv(table.path, SCHEMA)):
        assert found == [expected]
        assert [type(value) for value in found[0].values()] == list(map(type, expected.values()))


def test_nan_is_kept_in_the_store_and_missing_in_the_csv(tmp_path):
    table = Table(tmp_path / "rows.csv", SCHEMA)
    table.put({**KEY, "value": np.nan})
    assert np.isnan(Table(table.path, SCHEMA).find({})[0]["value"])
    assert read_csv(table.path, SCHEMA)[0]["value"] is None
    assert to_frame(read_csv(table.path, SCHEMA), SCHEMA).value.dtype == float


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": "0"}, "seed is '0'; expected a whole number"),
        ({"seed": 0.0}, "seed is 0.0; expected a whole number"),
        ({"seed": True}, "seed is True"),
        ({"seed": None}, "seed is None"),
        ({"setting": "abc"}, "setting is 'abc'; expected 16 hex digits"),
        ({"settings": "{"}, "settings is '{'; expected a JSON mapping"),
        ({"name": ""}, "name is ''; expected text"),
        ({"note": "poor"}, "note is 'poor'; expected a number"),
        ({"note": pd.NaT}, "note is NaT"),
        ({"note": [1]}, "note is"),
    ],
)
def test_a_value_of_another_type_is_refused_before_anything_is_written(tmp_path, change, message):
    table = Table(tmp_path / "rows.csv", SCHEMA)
    with pytest.raises(ValueError, match=message) as error:
        table.put({**KEY, **change})
    assert str(table.path) in str(error.value)
    assert not table.path.exists()
    with pytest.raises(ValueError, match="no value for seed"):
        table.put({"setting": KEY["setting"]})


# Files that others have written

HEADER = "setting,seed,value\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty, without even a header"),
        ("\ufeff", "is empty, without even a header"),
        (HEADER + "1234567890123456,0,0.5", "ends within a line"),
        (HEADER + "1234567890123456,0\n", "line 2: 2 values for 3 columns"),
        (HEADER + "1234567890123456,0,0.5,1\n", "line 2: 4 values for 3 columns"),
        (
            HEADER + "1234567890123456,0,0.5\n\n1234567890123456,0,0.6\n",
            "line 4: the same key as l",
        ),
        (
            HEADER + "1.23457E+15,0,0.5\n",
            "line 2: setting is '1.23457E.15'; expected 16 hex digits",
        ),
        (HEADER + "1234567890123456,0.0,0.5\n", "line 2: seed is '0.0'; expected a whole number"),
        (HEADER + "1234567890123456,,0.5\n", "line 2: no value for seed"),
        (HEADER + "1234567890123456,0,poor\n", "line 2: value is 'poor'; expected a number"),
        (HEADER + "1234567890123456,0,1_0\n", "line 2: value is '1_0'"),
        (HEADER + '1234567890123456,0,"0.5\n', "line 2: unexpected end"),
        (HEADER.replace(",", ";") + "1234567890123456;0;0.5\n", "line 1: no column setting, seed"),
        ("setting,seed,seed\n", "line 1: a column is named twice"),
        (HEADER.encode() + b"1234567890123456,0,\xff\n", "is not UTF-8"),
    ],
)
def test_a_csv_file_that_is_not_a_table_is_refused_by_file_and_line(tmp_path, text, message):
    path = written(tmp_path / "rows.csv", text)
    before = path.read_bytes()
    for read in (lambda: read_csv(path, SCHEMA), lambda: Table(path, SCHEMA).put(KEY)):
        with pytest.raises(ValueError, match=message) as error:
            read()
        assert str(path) in str(error.value)
    assert path.read_bytes() == before


def test_a_table_saved_by_a_spreadsheet_is_read(tmp_path):
    """With a byte order mark, CRLF, and a column that only a person knows."""
    text = "\ufeffsetting,seed,value,mine\r\n1234567890123456,0,0.5,\r\n"
    table = Table(written(tmp_path / "rows.csv", text), SCHEMA)
    assert table.find(KEY) == [{**KEY, "value": 0.5, "mine": None}]
    table.put({**KEY, "seed": 1, "value": 1})
    assert table.path.read_text() == (
        "setting,seed,value,mine\n1234567890123456,0,0.5,\n1234567890123456,1,1.0,\n"
    )


def test_the_csv_file_is_what_counts(tmp_path):
    """Rows that an editor changes, moves or removes are so; a removed file is an empty table."""
    table = Table(tmp_path / "rows.csv", SCHEMA)
    for seed in range(3):
        table.put({**KEY, "seed": seed, "value": seed})
    header, first, _, third = table.path.read_text().splitlines(keepends=True)
    written(table.path, header + third.replace("2\n", "9\n") + first)
    for reader in (table, Table(table.path, SCHEMA)):
        assert [(row["seed"], row["value"]) for row in reader.find({})] == [(2, 9), (0, 0)]
    assert not table.find({**KEY, "seed": 1})
    table.path.unlink()
    assert table.find({}) == []
    table.put(KEY)
    assert len(Table(table.path, SCHEMA).find({})) == 1


def test_a_header_alone_is_an_empty_table(tmp_path):
    table = Table(written(tmp_path / "rows.csv", HEADER), SCHEMA)
    assert table.rows().empty
    table.put({**KEY, "value": 0.5})
    assert table.path.read_text() == HEADER + "1234567890123456,0,0.5\n"


def test_rows_keep_their_order_and_a_row_of_the_same_key_its_place(tmp_path):
    table = Table(tmp_path / "rows.csv", SCHEMA)
    for seed in (2, 0, 1):
        table.put({**KEY, "seed": seed, "value": 0})
    table.put({**KEY, "seed": 0, "value": 7})
    assert [(row["seed"], row["value"]) for row in table.find({})] == [(2, 0), (0, 7), (1, 0)]


# Damage


def test_every_flipped_bit_of_the_csv_is_named_and_mended(tmp_path):
    table = Table(tmp_path / "rows.csv", SCHEMA)
    table.put({**KEY, "value": 0.5})
    whole = table.path.read_bytes()
    for where in range(len(whole)):
        flip(table.path, where)
        with pytest.warns(UserWarning, match=r"rows.csv is damaged .* restored from"):
            assert table.find({}) == [{**KEY, "value": 0.5}]
        assert table.path.read_bytes() == whole


def test_a_damaged_store_is_named_and_made_again(tmp_path):
    """A byte of the row, of the digest, of SQLite's own pages; a file that is no database."""
    table = Table(tmp_path / "rows.csv", SCHEMA)
    table.put({**KEY, "value": 0.5})
    store = tmp_path / ".rows.store" / "rows.sqlite"
    content = store.read_bytes()
    (digest,) = sqlite3.connect(store).execute("select sha256 from rows").fetchone()
    for where in (content.rindex(b"0.5"), content.index(digest.encode()), 0, 101, 4097):
        written(store, content)
        flip(store, where)
        with pytest.warns(UserWarning, match=r"rows.sqlite is damaged"):
            assert Table(table.path, SCHEMA).find({}) == [{**KEY, "value": 0.5}], where
    written(store, "no database")
    with pytest.warns(UserWarning, match=r"rows.sqlite is damaged"):
        assert Table(table.path, SCHEMA).find({}) == [{**KEY, "value": 0.5}]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_between_commit_and_export_loses_nothing(tmp_path, monkeypatch, moment):
    """Before or after the CSV file is replaced: the next process finds both rows in both files."""
    table = Table(tmp_path / "rows.csv", SCHEMA)
    table.put({**KEY, "value": 1})
    name = {"before": "_write_csv", "after": "_record_export"}[moment]

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Table, name, killed)
        with pytest.raises(KeyboardInterrupt):
            table.put({**KEY, "seed": 1, "value": 2})
    assert len(read_csv(table.path, SCHEMA)) == {"before": 1, "after": 2}[moment]
    again = Table(table.path, SCHEMA)
    again.put({**KEY, "seed": 2, "value": 3})
    assert [row["value"] for row in again.find({})] == [1, 2, 3]
    assert [row["value"] for row in read_csv(table.path, SCHEMA)] == [1, 2, 3]


def test_an_error_while_writing_names_the_path_and_keeps_the_row(tmp_path, monkeypatch):
    table = Table(tmp_path / "rows.csv", SCHEMA)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match=r"rows\.csv"):
            table.put(KEY)
    assert Table(table.path, SCHEMA).find(KEY) == [KEY]
    assert read_csv(table.path, SCHEMA) == [KEY]
    written(tmp_path / "file", "")
    with pytest.raises(OSError, match="file"):
        Table(tmp_path / "file" / "rows.csv", SCHEMA).put(KEY)


# Several processes


def in_processes(*works):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work) for work in works]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * len(works)


@forked
def test_two_processes_that_write_other_keys_lose_none(tmp_path):
    path = tmp_path / "rows.csv"

    def work(first):
        for seed in range(first, 20, 2):
            Table(path, SCHEMA).put({**KEY, "seed": seed, "value": seed / 3})

    in_processes(lambda: work(0), lambda: work(1))
    rows = read_csv(path, SCHEMA)
    assert {row["seed"]: row["value"] for row in rows} == {seed: seed / 3 for seed in range(20)}
    assert len(Table(path, SCHEMA).find({})) == 20


@forked
def test_two_processes_share_the_rows_and_each_is_made_once(tmp_path):
    path, log = tmp_path / "rows.csv", tmp_path / "made"
    log.mkdir()

    def work():
        table = Table(path, SCHEMA)

        def make(seed):
            time.sleep(0.1)
            (log / f"{seed}-{os.getpid()}").touch()
            return {"value": seed}

        def once(seed, wait):
            return table.once({**KEY, "seed": seed}, lambda: make(seed), wait)

        run_jobs(range(8), once)
        assert len(table.find({})) == 8  # what the other makes is waited for

    in_processes(work, work)
    made = sorted(file.name.split("-") for file in log.iterdir())
    assert [seed for seed, _ in made] == [str(seed) for seed in range(8)]
    assert len({process for _, process in made}) == 2


@forked
def test_of_two_processes_with_one_key_the_second_waits_and_finds_the_row(tmp_path):
    path = tmp_path / "rows.csv"

    def work(value):
        def make():
            time.sleep(0.3)
            return {"value": value}

        assert Table(path, SCHEMA).once(KEY, make)

    in_processes(lambda: work(1), lambda: work(2))
    assert len(read_csv(path, SCHEMA)) == 1


@forked
def test_the_lock_of_a_killed_process_is_free(tmp_path):
    path = tmp_path / "rows.csv"

    def work():
        Table(path, SCHEMA).once(KEY, lambda: os._exit(9))

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(30)
    assert process.exitcode == 9
    assert Table(path, SCHEMA).once(KEY, lambda: {"value": 1}, wait=False)


@forked
@pytest.mark.parametrize("kills", [5, pytest.param(200, marks=pytest.mark.slow)])
def test_a_kill_at_any_moment_loses_at_most_the_row_being_written(tmp_path, kills):
    path, log, moments = tmp_path / "rows.csv", tmp_path / "log", random.Random(0)
    log.touch()

    def work(first):
        table = Table(path, SCHEMA)
        for seed in itertools.count(first):
            table.put({**KEY, "seed": seed, "value": seed / 3})
            with log.open("a") as file:
                file.write(f"{seed}\n")

    for _ in range(kills):
        count = len(Table(path, SCHEMA).find({}))
        process = multiprocessing.get_context("fork").Process(target=work, args=(count,))
        process.start()
        time.sleep(moments.uniform(0.03, 0.2))
        process.kill()
        process.join()
        rows = Table(path, SCHEMA).find({})
        returned = len(log.read_text().split())
        assert returned <= len(rows) <= returned + 1
        assert [row["value"] for row in rows] == [seed / 3 for seed in range(len(rows))]
        assert read_csv(path, SCHEMA) == rows if rows else not path.exists()
        log.write_text("0\n" * len(rows))
    assert rows


def test_a_key_in_progress_is_left_to_the_other_process(tmp_path):
    table, other = (Table(tmp_path / "rows.csv", SCHEMA) for _ in range(2))
    with other.claim(*KEY.values()):
        assert not table.once(KEY, lambda: {"value": 1}, wait=False)
        with pytest.raises(Timeout), table.claim(*KEY.values(), wait=False):
            pass
    assert table.once(KEY, lambda: {"value": 1}, wait=False)


def test_shared_jobs_that_are_busy_come_last():
    done = []

    def do(job, wait):
        if job == "b" and not wait:
            return False
        done.append((job, wait))
        return True

    run_jobs("abc", do)
    assert done == [("a", False), ("c", False), ("b", True)]


# The committed tables


def schemas():
    from cure_study.experiments.clusters import sweep
    from cure_study.experiments.comparison.store import SCHEMAS
    from cure_study.experiments.quality import study as quality_study

    return {**SCHEMAS, "quality_rows": quality_study.SCHEMA, sweep.TABLE: sweep.SCHEMA}


@pytest.mark.parametrize(
    "name", ["tuning", "comparison", "frontier", "attacks", "quality_rows", "sensitivity"]
)
def test_a_committed_table_is_exported_as_it_was(tmp_path, name):
    """Byte by byte, derived columns too; every digest is text, whatever it looks like."""
    from cure_study.experiments.comparison.store import KEYS, open_table

    path, schema = tmp_path / f"{name}.csv", schemas()[name]
    shutil.copy(FIGURES / path.name, path)
    own = open_table(tmp_path, name) if name in KEYS else Table(path, schema)
    rows = own.find({})
    written = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column in {"setting", "settings", "value"} & set(schema.types or {}) & set(written):
        assert [row[column] or "" for row in rows] == written[column].to_list()
    assert len({schema.key_of(row) for row in rows}) == len(written)
    own.put(rows[-1])
    assert path.read_bytes() == (FIGURES / path.name).read_bytes()
    if "settings" in written:
        texts = [row["settings"] for row in rows if row["settings"]]
        assert all(isinstance(json.loads(text), dict) for text in texts)
