import os
import random
import re
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from cure_core.training.checkpoint import Checkpoint

IDENTITY = {"config": {"epochs": 3, "batch_size": (8, 16)}, "teacher": "abc"}


def save_checkpoint(path, identity, state):
    Checkpoint(path, identity).save(state)


def load_checkpoint(path, identity):
    return Checkpoint(path, identity).load()


def test_what_was_saved_comes_back(tmp_path):
    state = {
        "weights": {"a": torch.arange(3.0), "b": torch.tensor(7)},
        "rows": [{"epoch": 1, "loss": 0.1}],
        "generator": torch.Generator().manual_seed(3).get_state(),
    }
    path = tmp_path / "deep" / "run.pt"
    save_checkpoint(path, IDENTITY, state)
    loaded = load_checkpoint(path, IDENTITY)
    assert loaded is not None
    assert loaded["rows"] == state["rows"]
    assert torch.equal(loaded["weights"]["a"], state["weights"]["a"])
    assert torch.equal(loaded["weights"]["b"], state["weights"]["b"])
    restored = torch.Generator()
    restored.set_state(loaded["generator"])
    assert torch.equal(
        torch.rand(4, generator=restored), torch.rand(4, generator=torch.Generator().manual_seed(3))
    )


def test_no_file_is_no_state(tmp_path):
    assert load_checkpoint(tmp_path / "absent.pt", IDENTITY) is None


@pytest.mark.parametrize(
    ("now", "named"),
    [
        ({**IDENTITY, "teacher": "xyz"}, "teacher: 'abc' there, 'xyz' now"),
        ({**IDENTITY, "objective": "Cure"}, "objective: None there, 'Cure' now"),
        ({"teacher": "abc"}, "config: .* there, None now"),
    ],
)
def test_another_run_is_refused_by_name_and_its_file_unharmed(tmp_path, now, named):
    path = tmp_path / "run.pt"
    save_checkpoint(path, IDENTITY, {"rows": []})
    before = path.read_bytes()
    with pytest.raises(ValueError, match=named) as caught:
        load_checkpoint(path, now)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("kept", [0, 1, 100, -50])
def test_a_truncated_file_is_named(tmp_path, kept):
    path = tmp_path / "run.pt"
    save_checkpoint(path, IDENTITY, {"weights": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=re.escape(str(path))):
        load_checkpoint(path, IDENTITY)


def test_the_last_two_are_kept_and_the_older_serves_where_the_newer_is_damaged(tmp_path):
    path = tmp_path / "run.pt"
    for rows in ([1], [1, 2], [1, 2, 3]):
        save_checkpoint(path, IDENTITY, {"rows": rows})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.pt", "run.pt.1"]
    assert load_checkpoint(path, IDENTITY) == {"rows": [1, 2, 3]}
    path.write_bytes(path.read_bytes()[:100])
    with pytest.warns(UserWarning, match=rf"{path} is damaged .*; resuming from {path}\.1"):
        assert load_checkpoint(path, IDENTITY) == {"rows": [1, 2]}
    save_checkpoint(path, IDENTITY, {"rows": [1, 2, 4]})  # puts no damaged file in its place
    path.unlink()  # killed between the two renames
    assert load_checkpoint(path, IDENTITY) == {"rows": [1, 2]}
    Checkpoint(path, IDENTITY).discard()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_read_or_written_without_a_path():
    nowhere = Checkpoint(None, {})
    nowhere.save({"rows": [1]})
    assert nowhere.load() is None


def test_a_file_that_is_no_checkpoint_is_named(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"conv": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        load_checkpoint(path, IDENTITY)


class Marker:
    """Unpickling this would make the file it names."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    path, marker = tmp_path / "run.pt", tmp_path / "code-was-run"
    torch.save({"identity": IDENTITY, "state": Marker(marker)}, path)
    with pytest.raises(ValueError, match="no digest"):
        load_checkpoint(path, IDENTITY)
    assert not marker.exists()


@pytest.fixture
def full_disk():
    """No file can grow past 20 kB in this process, as on a disk with no more room."""
    resource = pytest.importorskip("resource", reason="only POSIX limits the size of files")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    @contextmanager
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path, full_disk):
    """torch.save to a path reports this as a RuntimeError of its zip writer."""
    path = tmp_path / "run.pt"
    save_checkpoint(path, IDENTITY, {"rows": [1]})
    with full_disk(), pytest.raises(OSError, match="File too large"):
        save_checkpoint(path, IDENTITY, {"rows": [1, 2], "weights": torch.zeros(100_000)})
    assert load_checkpoint(path, IDENTITY) == {"rows": [1]}
    assert list(tmp_path.iterdir()) == [path]


# Damage, other writers, and kills.


def test_every_flipped_bit_is_noticed_and_the_older_file_used(tmp_path):
    path, rng = tmp_path / "run.pt", random.Random(0)
    save_checkpoint(path, IDENTITY, {"rows": [1], "weights": torch.arange(50.0)})
    older = path.read_bytes()
    save_checkpoint(path, IDENTITY, {"rows": [1, 2], "weights": torch.arange(50.0)})
    good = path.read_bytes()
    for _ in range(40):
        flipped = bytearray(good)
        flipped[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        with pytest.warns(UserWarning, match=re.escape(f"{path} ")):
            loaded = load_checkpoint(path, IDENTITY)
        assert loaded is not None
        assert loaded["rows"] == [1]
        assert path.with_name("run.pt.1").read_bytes() == older


def test_a_damaged_end_that_zipfile_itself_refuses_is_named(tmp_path):
    path = tmp_path / "run.pt"
    save_checkpoint(path, IDENTITY, {"rows": []})
    raw = bytearray(path.read_bytes())
    raw[raw.rindex(b"PK\x06\x07") + 16] = 2  # an archive of two disks, in the zip64 locator
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=f"{path} is damaged"):
        load_checkpoint(path, IDENTITY)


def test_two_damaged_files_are_both_named(tmp_path):
    path = tmp_path / "run.pt"
    for rows in ([1], [1, 2]):
        save_checkpoint(path, IDENTITY, {"rows": rows})
    for file in (path, path.with_name("run.pt.1")):
        file.write_bytes(b"x" + file.read_bytes()[1:])
    with pytest.raises(ValueError, match=rf"{path} is damaged.*; {path}\.1 is damaged"):
        load_checkpoint(path, IDENTITY)


def test_a_file_of_the_earlier_format_is_refused_with_the_remedy(tmp_path):
    path = tmp_path / "run.pt"
    torch.save({"identity": IDENTITY, "state": {}, "generator": torch.get_rng_state()}, path)
    with pytest.raises(ValueError, match=f"{path} has no digest .*move it away to start"):
        load_checkpoint(path, IDENTITY)


def test_another_writer_between_our_write_and_our_rename_does_no_harm(tmp_path, monkeypatch):
    path, fsync, nested = tmp_path / "run.pt", os.fsync, []

    def interleaved(file):
        fsync(file)
        if not nested:
            nested.append(1)
            save_checkpoint(path, IDENTITY, {"rows": ["theirs"]})

    monkeypatch.setattr(os, "fsync", interleaved)
    save_checkpoint(path, IDENTITY, {"rows": ["ours"]})
    assert load_checkpoint(path, IDENTITY) == {"rows": ["ours"]}
    path.unlink()
    assert load_checkpoint(path, IDENTITY) == {"rows": ["theirs"]}


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs, the removal of temporary files included."""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(4))
def test_a_kill_around_any_step_of_a_save_leaves_a_whole_state(tmp_path, monkeypatch, step, after):
    """Steps: the flush to disk, and three renames."""
    path, done = tmp_path / "run.pt", []
    for rows in ([1], [1, 2]):
        save_checkpoint(path, IDENTITY, {"rows": rows})

    def killing(act):
        def acts(*arguments):
            done.append(1)
            if len(done) == step + 1 and not after:
                raise Killed
            result = act(*arguments)
            if len(done) == step + 1:
                raise Killed
            return result

        return acts

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", killing(os.fsync))
        patched.setattr(Path, "replace", killing(Path.replace))
        patched.setattr(Path, "unlink", lambda self, missing_ok=False: None)
        with pytest.raises(Killed):
            save_checkpoint(path, IDENTITY, {"rows": [1, 2, 3]})
    finished = step == 3 and after
    assert load_checkpoint(path, IDENTITY) == {"rows": [1, 2, 3] if finished else [1, 2]}
    save_checkpoint(path, IDENTITY, {"rows": [1, 2, 3, 4]})
    assert load_checkpoint(path, IDENTITY) == {"rows": [1, 2, 3, 4]}


def test_what_a_killed_writer_left_is_removed_once_it_is_old(tmp_path):
    path = tmp_path / "run.pt"
    names = [".run-abcd1234.pt", "..run-abcd1234-efgh5678.pt", ".run.pt-abcd1234.views"]
    others = [".run-2-abcd1234.pt", ".other-abcd1234.pt", ".run.pt.lock"]
    for name in (*names, *others):
        (tmp_path / name).touch()
    load_checkpoint(path, IDENTITY)
    assert len(list(tmp_path.iterdir())) == 6  # another process may be writing them
    for file in tmp_path.iterdir():
        os.utime(file, (time.time() - 4000,) * 2)
    load_checkpoint(path, IDENTITY)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(others)


def test_a_folder_that_is_a_file_is_an_oserror_at_the_start(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(OSError, match="runs"):
        load_checkpoint(tmp_path / "runs" / "run.pt", IDENTITY)


def test_views_are_made_once_and_again_where_their_file_is_damaged(tmp_path):
    path, made = tmp_path / "run.pt", []

    def make():
        made.append(1)
        return torch.arange(3.0), torch.arange(4.0)

    for identity, times in ((IDENTITY, 1), (IDENTITY, 1), ({"teacher": "other"}, 2)):
        views = Checkpoint(path, identity).views(make)
        assert [view.tolist() for view in views] == [[0, 1, 2], [0, 1, 2, 3]]
        assert len(made) == times
    file = tmp_path / "run.pt.views"
    file.write_bytes(b"x" + file.read_bytes()[1:])
    with pytest.warns(UserWarning, match=f"{file} is damaged"):
        Checkpoint(path, {"teacher": "other"}).views(make)
    assert len(made) == 3
    Checkpoint(path, IDENTITY).discard()
    assert list(tmp_path.iterdir()) == []
