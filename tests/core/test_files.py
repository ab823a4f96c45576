import errno
from pathlib import Path

import numpy as np
import pytest

from cure_core.files import (
    DamagedFileError,
    atomic_path,
    digest,
    file_sha256,
    read_sealed,
    write_sealed,
)
from cure_study.paths import cache_root, data_root


@pytest.mark.parametrize(
    ("variable", "root"), [("CURE_DATA_ROOT", data_root), ("CURE_CACHE", cache_root)]
)
def test_folders_follow_the_environment_and_have_a_default(monkeypatch, variable, root):
    monkeypatch.setenv(variable, "~/faces")
    assert root() == Path.home() / "faces"
    monkeypatch.delenv(variable)
    default = root()
    assert default.is_absolute()
    assert default.name == "cure"
    monkeypatch.setenv(variable, "")  # as an unset variable in a shell script
    assert root() == default


def test_atomic_path_makes_folders_keeps_the_suffix_and_leaves_one_file(tmp_path):
    path = tmp_path / "a" / "b" / "weights.safetensors"
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".safetensors"
        assert not path.exists()
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_atomic_path_gives_the_permissions_of_an_ordinary_file(tmp_path):
    """mkstemp makes files private; a shared cache has to be readable by others."""
    with atomic_path(tmp_path / "atomic") as temporary:
        temporary.write_text("")
    (tmp_path / "ordinary").write_text("")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_atomic_path_that_fails_leaves_the_earlier_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "kept.pt"
    path.write_text("old")

    def write() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_file_sha256_is_the_published_one(tmp_path):
    """FIPS 180-2, appendix B.1: the digest of the three letters abc."""
    (tmp_path / "abc").write_text("abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(tmp_path / "abc") == expected


def test_digest_is_of_values_not_of_memory_layout():
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    assert (
        digest(x)
        == digest(x.copy(order="F"))
        == digest(np.arange(48.0, dtype="f4")[:24].reshape(4, 6))
    )
    assert digest(x[:, ::2]) == digest(x[:, ::2].copy())
    assert len(digest()) == 16


def test_digest_tells_apart_what_differs():
    x = np.arange(6, dtype=np.int64)
    other = x.copy()
    other[5] += 1
    different = [
        (x,),
        (other,),
        (x.reshape(2, 3),),
        (x.astype(np.int32),),
        (x, x),
        (x[:3], x[3:]),
        (x[:0],),
        ("ab",),
        ("a", "b"),
        ("b", "a"),
        (1,),
        ("1",),
        ({"a": 1},),
        ({"a": 2},),
    ]
    assert len({digest(*parts) for parts in different}) == len(different)


def test_a_sealed_file_comes_back_and_any_flipped_bit_or_cut_is_named(tmp_path):
    path = tmp_path / "weights.bin"
    write_sealed(path, b"content")
    assert read_sealed(path) == b"content"
    whole = path.read_bytes()
    for position in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(DamagedFileError, match=r"weights\.bin is damaged"):
                read_sealed(path)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedFileError, match=r"weights\.bin is damaged"):
            read_sealed(path)


def test_an_error_of_the_system_while_writing_names_the_file(tmp_path):
    path = tmp_path / "weights.bin"
    full = pytest.raises(OSError, match=r"No space left on device: '.*weights\.bin'")
    with full, atomic_path(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match=r"^disk full$"), atomic_path(path):
        raise OSError("disk full")  # without a number a name would replace the message
    assert list(tmp_path.iterdir()) == []
