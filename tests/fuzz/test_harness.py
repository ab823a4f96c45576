"""The fuzzing harness itself: it repeats, and sees each kind of fault."""

import random
import time
from itertools import islice

import harness
import pytest
from harness import DOCUMENTED, Target, fuzz, mutations


def test_mutations_repeat_with_the_seed_and_are_never_the_original():
    first, again, other = (
        list(islice(mutations(b"a: 1\nb: 2\n", random.Random(seed)), 200)) for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other
    assert b"a: 1\nb: 2\n" not in first
    assert len(set(first)) > 100


@pytest.fixture
def target(tmp_path):
    """A target whose reader is given; its file holds a number."""
    path = tmp_path / "number.txt"
    path.write_text("12345")

    def build(read, **options):
        return Target("number", path, lambda: read(path), **options)

    return build


def careful(path):
    text = path.read_bytes()
    if not text.isdigit():
        raise ValueError(f"{path.name} holds {text!r}")
    return int(text)


def test_a_careful_reader_has_no_faults_and_its_file_is_put_back(target):
    counts = fuzz(target(careful), 300)
    assert counts.faults == 0, counts
    assert set(counts.outcomes) == {"other", "refused"}
    assert counts.outcomes.total() == 300
    assert "number: 300 inputs" in str(counts)
    assert careful(target(careful).path) == 12345


def hasty(path):
    return path.read_bytes()[4]  # IndexError on short files


def forgetful(path):
    if path.read_bytes() != b"12345":
        raise ValueError("some file is wrong")


def sleepy(path):
    if path.read_bytes() != b"12345":
        time.sleep(10)


@pytest.mark.parametrize(
    ("read", "options", "fault", "shown"),
    [
        (hasty, {}, "undocumented error", "IndexError"),
        (forgetful, {}, "file not named", "some file is wrong"),
        (careful, {"detects_damage": True}, "silently other", r"on b'"),
        (sleepy, {}, "hang", "longer than 0.01 s"),
    ],
)
def test_each_fault_is_counted_with_its_first_input(
    target, monkeypatch, read, options, fault, shown
):
    monkeypatch.setattr(harness, "PATIENCE", 0.01)
    counts = fuzz(target(read, **options), 20)
    assert counts.faults == counts.outcomes[fault] > 0
    assert shown in str(counts)


def test_more_errors_can_be_documented(target):
    counts = fuzz(target(hasty, documented=(*DOCUMENTED, IndexError)), 50)
    assert counts.outcomes["undocumented error"] == 0


def test_a_reader_that_is_not_repeatable_is_refused(target):
    with pytest.raises(ValueError, match="number: the sound file is read as another value"):
        fuzz(target(lambda path: object()), 1)
