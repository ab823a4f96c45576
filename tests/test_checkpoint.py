import re
from contextlib import contextmanager

import pytest
import torch

from cure_core.checkpoint import load_checkpoint, save_checkpoint

IDENTITY = {"config": {"epochs": 3, "batch_size": (8, 16)}, "teacher": "abc"}


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
    with pytest.raises(ValueError, match="no readable checkpoint"):
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
