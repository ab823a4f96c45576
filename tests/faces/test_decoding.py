"""A decoded set in the cache: in order, once, and taken up where it stood."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from cure_core.faces import decoding
from cure_core.faces.decoding import decoded


def numbered(first):
    return iter(range(first, 10))


def flat(value):
    return np.full((112, 112, 3), value, np.uint8)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(decoding, "CHUNK", 4)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "faces"


def values(images):
    assert (images == images[:, :1, :1, :1]).all()
    return images[:, 0, 0, 0].tolist()


def test_more_images_than_a_chunk_keep_their_order(cache):
    images = decoded("ten", 10, numbered, flat)
    assert values(images) == list(range(10))
    assert isinstance(images, np.memmap)
    assert not images.flags.writeable
    assert (np.load(cache / "ten.npy") == images).all()  # numpy's own reader, whole


def test_a_decoded_set_is_not_decoded_again():
    decoded("ten", 10, numbered, flat)
    assert values(decoded("ten", 10, None, None)) == list(range(10))


@pytest.mark.parametrize("stop", [0, 3, 4, 5, 8, 9])
def test_an_interrupted_decoding_goes_on_from_the_last_chunk_known_safe(cache, stop):
    asked = []

    def until(value):
        if value == stop:
            raise KeyboardInterrupt
        return flat(value)

    def sources(first):
        asked.append(first)
        return numbered(first)

    with pytest.raises(KeyboardInterrupt):
        decoded("ten", 10, sources, until)
    assert not (cache / "ten.npy").exists()
    assert values(decoded("ten", 10, sources, flat)) == list(range(10))
    # Chunks begin at 0, 4 and 8; the last one written is in doubt, for the disk may not have it.
    assert asked == [0, {0: 0, 3: 0, 4: 0, 5: 0, 8: 4, 9: 4}[stop]]
    assert sorted(path.suffix for path in cache.iterdir()) == [".lock", ".npy"]


@pytest.mark.parametrize("length", [0, 1, 128, 129, 128 + 37632, 128 + 5 * 37632 + 7, 10**6])
def test_whatever_a_crash_left_is_written_over(cache, length):
    """Of the last chunk nothing is believed: a power cut leaves zeros or noise there."""
    decoded("ten", 10, numbered, flat)
    whole = (cache / "ten.npy").read_bytes()
    safe = max([128 + n * 37632 for n in (4, 8) if length > 128 + n * 37632], default=0)
    left = whole[:safe] + np.random.default_rng(length).bytes(max(0, length - safe))
    (cache / "ten.npy").unlink()
    (cache / "ten.part").write_bytes(left)
    decoded("ten", 10, numbered, flat)
    assert (cache / "ten.npy").read_bytes() == whole


def test_what_cannot_be_decoded_leaves_nothing_behind(cache):
    def broken(value):
        raise ValueError(f"image {value} is broken")

    with pytest.raises(ValueError, match="image 0 is broken"):
        decoded("ten", 10, numbered, broken)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_full_disk_is_told_and_the_work_so_far_kept(cache):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6 * 37632, limits[1]))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            decoded("ten", 10, numbered, flat)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    asked = []
    decoded("ten", 10, lambda first: (asked.append(first), numbered(first))[1], flat)
    assert asked == [4]
    assert values(np.load(cache / "ten.npy")) == list(range(10))


def test_two_at_the_same_time_decode_once(cache):
    calls, results = [], []

    def slow(value):
        calls.append(value)
        time.sleep(0.01)
        return flat(value)

    def work():
        results.append(values(decoded("ten", 10, numbered, slow)))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [list(range(10))] * 3
    assert sorted(calls) == list(range(10))


KILLED = """
import time, numpy as np
from cure_core.faces import decoding
decoding.CHUNK = 4
def told(value):
    if value == 9:
        print("now", flush=True)
        time.sleep(60)
    return np.full((112, 112, 3), value, np.uint8)
decoding.decoded("ten", 10, lambda first: iter(range(first, 10)), told)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_process_holds_nobody_up(cache):
    process = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "now\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert values(decoded("ten", 10, numbered, flat)) == list(range(10))
