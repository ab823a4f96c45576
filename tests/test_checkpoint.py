import re
import signal
from contextlib import contextmanager

import pytest
import torch

from cure_core import checkpoint
from cure_core.checkpoint import Checkpoint

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
    with pytest.warns(UserWarning, match=rf"{path} is damaged .*; going on from {path}\.1"):
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
    assert not nowhere.due()


def test_it_is_due_when_the_time_has_come(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: clock[0])
    keeper = Checkpoint(tmp_path / "run.pt", IDENTITY)
    for now, due in ((159.0, False), (160.0, True)):
        clock[0] = now
        assert keeper.due() == due
    keeper.save({})
    assert not keeper.due()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_next_save(tmp_path, number, capsys, monkeypatch):
    """Python's own handler of SIGTERM would end the tests: another stands in for it."""
    path, seen = tmp_path / "run.pt", []
    before = {n: signal.signal(n, lambda n, frame: seen.append(n)) for n in (2, 15)}
    try:
        with Checkpoint(path, IDENTITY) as keeper:
            signal.raise_signal(number)
            assert keeper.due()
            assert seen == []
            keeper.save({"rows": [1]})
            assert seen == [number]
            assert not keeper.due()
        with Checkpoint(path, IDENTITY):
            signal.raise_signal(number)
            signal.raise_signal(number)  # at once: a launcher's echo of the first
            assert seen == [number]
            monkeypatch.setattr(checkpoint, "ECHO", -1)
            signal.raise_signal(number)  # the second does not wait
            assert seen == [number] * 2
        with Checkpoint(path, IDENTITY):
            signal.raise_signal(number)  # after the last save: acts at the end
        assert seen == [number] * 3

        def fails():
            with Checkpoint(path, IDENTITY):
                signal.raise_signal(number)
                raise FloatingPointError  # an error does not swallow it

        with pytest.raises(FloatingPointError):
            fails()
        assert seen == [number] * 4
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
    assert f"{signal.Signals(number).name}: saved in {path}" in capsys.readouterr().err
    assert load_checkpoint(path, IDENTITY) == {"rows": [1]}


def test_an_error_is_told_where_the_run_goes_on(tmp_path):
    path = tmp_path / "run.pt"

    def lost(path, saves):
        with Checkpoint(path, {}) as keeper:
            if saves:
                keeper.save({"rows": []})
            raise RuntimeError("device lost")

    with pytest.raises(RuntimeError, match="device lost") as caught:
        lost(path, saves=True)
    (note,) = caught.value.__notes__
    assert str(path) in note
    with pytest.raises(RuntimeError, match="device lost") as caught:
        lost(tmp_path / "none.pt", saves=False)
    assert not hasattr(caught.value, "__notes__")


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
