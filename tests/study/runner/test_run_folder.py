"""Run folders: replaced whole whatever interrupts it, sealed by digests, one process at a time."""

import itertools
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import nbformat
import pytest

from cure_core.files import DamagedFileError
from cure_study import code_version
from cure_study.run_record import RECORD, check_results, is_done, read_record, write_record
from cure_study.runner import run_folder
from cure_study.runner.run_folder import StaleError, clean_up_all, put_back, replace
from cure_study.runner.runs import plan_run


class Killed(BaseException):
    """What a kill is to the code: nothing after it runs."""


def make(folder, content):
    folder.mkdir(parents=True)
    (folder / "table.csv").write_text(content, encoding="utf-8")
    write_record(folder, {"seconds": 1.0})
    return folder


def kill_at(step, monkeypatch):
    """The process dies just before its change number `step` of the disk."""
    count = itertools.count()

    def counted(function):
        def run(*arguments, **options):
            if next(count) == step:
                raise Killed
            return function(*arguments, **options)

        return run

    for module, name in ((Path, "rename"), (Path, "chmod"), (os, "rmdir"), (os, "unlink")):
        monkeypatch.setattr(module, name, counted(getattr(module, name)))


def test_a_kill_at_any_step_leaves_the_old_folder_or_the_new(tmp_path, monkeypatch):
    ended, steps = False, 0
    while not ended:
        runs = tmp_path / str(steps)
        final = make(runs / "study-quick-12345678", "old")
        new = make(runs / ".study-quick-12345678~abc", "new")
        with monkeypatch.context() as patch:
            kill_at(steps, patch)
            try:
                replace(new, final)
                ended = True
            except Killed:
                pass
        clean_up_all(runs)  # the next start
        assert is_done(final)
        content = (final / "table.csv").read_text(encoding="utf-8")
        assert content == "new" if ended else content in ("old", "new")
        assert [path.name for path in runs.iterdir() if path.name != ".locks"] == [final.name]
        steps += 1
    assert steps > 5  # two renames, and the removal of the old folder


def test_a_kill_during_the_recovery_is_recovered_from_too(tmp_path, monkeypatch):
    for step in range(8):
        final = make(tmp_path / str(step) / "name", "new")
        make(tmp_path / str(step) / ".name~", "old")
        with monkeypatch.context() as patch:
            kill_at(step, patch)
            with suppress(Killed):
                put_back(final)
        put_back(final)
        assert is_done(final)
        assert [path.name for path in final.parent.iterdir()] == ["name"]


def test_a_run_in_progress_is_left_alone(tmp_path):
    make(tmp_path / ".study-quick-12345678~", "old")
    make(tmp_path / ".study-quick-12345678~abc", "new")
    with run_folder.claimed("study-quick-12345678", tmp_path):
        clean_up_all(tmp_path)
        assert len(list(tmp_path.glob(".study*"))) == 2
    clean_up_all(tmp_path)
    assert [path.name for path in tmp_path.glob("*study*")] == ["study-quick-12345678"]


def test_partials_are_those_of_the_run_alone(tmp_path):
    for name in (".study-quick-12345678~abc", ".study~abc", ".study-quick-12345678-failed~"):
        (tmp_path / name).mkdir()
    found = run_folder.partials(tmp_path, "study-quick-12345678")
    assert [path.name for path in found] == [".study-quick-12345678~abc"]
    assert [path.name for path in run_folder.partials(tmp_path, "study")] == [".study~abc"]


def flip(path, bit=0):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1 << bit
    path.write_bytes(raw)


@pytest.mark.parametrize("bit", range(8))
@pytest.mark.parametrize("name", ["table.csv", RECORD])
def test_every_flipped_bit_is_noticed_and_the_file_named(tmp_path, name, bit):
    folder = make(tmp_path / "run", "measure,value\nues,0.5\n")
    assert is_done(folder)
    flip(folder / name, bit)
    assert not is_done(folder)
    with pytest.raises(DamagedFileError, match=name):
        check_results(folder, read_record(folder / RECORD))


@pytest.mark.parametrize("text", ["{}", '{"files": {}, "seconds": 1.0}', '{"parameters": 3}'])
def test_a_record_that_lost_its_digest_or_its_parts_is_of_no_finished_run(tmp_path, text):
    folder = make(tmp_path / "run", "x")
    (folder / RECORD).write_text(text, encoding="utf-8")
    assert not is_done(folder)


def test_a_missing_result_is_named(tmp_path):
    folder = make(tmp_path / "run", "x")
    (folder / "table.csv").unlink()
    with pytest.raises(DamagedFileError, match=r"table\.csv is damaged \(it is missing\)"):
        check_results(folder, read_record(folder / RECORD))


def test_the_executed_notebook_and_the_log_may_be_edited(tmp_path):
    folder = tmp_path / "run"
    (folder / "figures").mkdir(parents=True)
    for name in ("a.ipynb", "run.log", "figures/a.csv"):
        (folder / name).write_text("x", encoding="utf-8")
    write_record(folder, {})
    assert list(json.loads((folder / RECORD).read_text(encoding="utf-8"))["files"]) == [
        "figures/a.csv"
    ]


HOLD = """
import sys, time
from pathlib import Path
from cure_study.runner import run_folder

with run_folder.claimed("name", Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_says_that_the_run_is_in_progress_until_the_first_is_killed(tmp_path):
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, encoding="utf-8"
    )
    try:
        assert first.stdout.readline() == "held\n"
        with (
            pytest.raises(run_folder.BusyError, match="name is being run by another process"),
            run_folder.claimed("name", tmp_path),
        ):
            pass
    finally:
        first.kill()
        first.wait()
    with run_folder.claimed("name", tmp_path):
        pass


def test_replace_takes_a_folder_of_any_shape(tmp_path):
    final, new = make(tmp_path / "name", "old"), make(tmp_path / "new", "new")
    (final / "deep" / "er").mkdir(parents=True)
    replace(new, final)
    assert (final / "table.csv").read_text(encoding="utf-8") == "new"
    assert not (final / "deep").exists()


def test_a_record_with_numbers_as_names_reads_back(tmp_path):
    """JSON makes them text, which sorts in another order."""
    write_record(tmp_path, {"parameters": {"x": {2: 1, 10: 2}}})
    record = read_record(tmp_path / RECORD)
    assert record["parameters"] == {"x": {"2": 1, "10": 2}}


def test_code_that_is_edited_during_a_run_leaves_no_results(tmp_path, monkeypatch):
    """What the later cells computed came from other code than the record would say."""
    module, runs = tmp_path / "cure_core" / "losses.py", tmp_path / "runs"
    module.parent.mkdir()
    module.write_text("x = 1\n", encoding="utf-8")
    monkeypatch.setattr(code_version, "ROOT", tmp_path)
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("from cure_core.losses import x")]
    )
    source = tmp_path / "notebook.ipynb"
    nbformat.write(notebook, source)
    run = plan_run(source, "", {})

    def execute(*arguments, **options):
        module.write_text("x = 2\n", encoding="utf-8")

    with monkeypatch.context() as patch:
        patch.setattr(run_folder.kernel, "execute", execute)
        with pytest.raises(StaleError, match="the code is no longer what"):
            run_folder.execute(run, runs)
    assert [path.name for path in runs.iterdir()] == [".locks"]
