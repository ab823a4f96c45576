"""A decoded set in the cache: in order, once, and taken up where it stood."""

import errno
import multiprocessing
import os
import sys
import threading
import time

import numpy as np
import pytest
from processes import in_two_processes

from cure_study.data import image_cache
from cure_study.data.image_cache import cached_bytes, cached_images


def numbered(first):
    return iter(range(first, 10))


def flat(value):
    return np.full((112, 112, 3), value, np.uint8)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(image_cache, "CHUNK", 4)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "faces"


def values(images):
    assert (images == images[:, :1, :1, :1]).all()
    return images[:, 0, 0, 0].tolist()


def test_more_images_than_a_chunk_keep_their_order(cache):
    images = cached_images("ten", 10, numbered, flat)
    assert values(images) == list(range(10))
    assert isinstance(images, np.memmap)
    assert not images.flags.writeable
    assert (np.load(cache / "ten.npy") == images).all()  # numpy's own reader, whole


def test_a_decoded_set_is_not_decoded_again():
    cached_images("ten", 10, numbered, flat)
    assert values(cached_images("ten", 10, None, None)) == list(range(10))


@pytest.mark.parametrize("stop", [0, 3, 4, 5, 8, 9])
def test_an_interrupted_decoding_goes_on_from_the_last_chunk_known_safe(cache, stop):
    first_images = []

    def until(value):
        if value == stop:
            raise KeyboardInterrupt
        return flat(value)

    def sources(first):
        first_images.append(first)
        return numbered(first)

    with pytest.raises(KeyboardInterrupt):
        cached_images("ten", 10, sources, until)
    assert not (cache / "ten.npy").exists()
    assert values(cached_images("ten", 10, sources, flat)) == list(range(10))
    assert first_images == [
        0,
        {0: 0, 3: 0, 4: 4, 5: 4, 8: 8, 9: 8}[stop],
    ]  # chunks begin at 0, 4, 8
    assert sorted(path.suffix for path in cache.iterdir()) == [".lock", ".npy"]


def interrupt(stop):
    """A decoding that ends at image `stop`."""

    def until(value):
        if value == stop:
            raise KeyboardInterrupt
        return flat(value)

    with pytest.raises(KeyboardInterrupt):
        cached_images("ten", 10, numbered, until)


@pytest.mark.parametrize("length", [0, 1, 128, 129, 128 + 37632, 128 + 5 * 37632 + 7, 10**6])
@pytest.mark.parametrize("noise", [128, 10**6])
def test_whatever_a_crash_left_is_written_over(cache, length, noise):
    """A power cut leaves zeros or noise, anywhere: only what matches its digest is kept."""
    cached_images("ten", 10, numbered, flat)
    whole = (cache / "ten.npy").read_bytes()
    (cache / "ten.npy").unlink()
    interrupt(9)
    left = (cache / "ten.part").read_bytes()
    assert left == whole[: len(left)]
    left = left[: min(length, noise)] + np.random.default_rng(length).bytes(max(0, length - noise))
    (cache / "ten.part").write_bytes(left)
    cached_images("ten", 10, numbered, flat)
    assert (cache / "ten.npy").read_bytes() == whole


@pytest.mark.parametrize("name", ["ten.part", "ten.digests"])
@pytest.mark.parametrize("position", [0, 40, 127, 5 * 37632])
def test_a_bit_flipped_in_an_interrupted_decoding_is_decoded_again(cache, name, position):
    interrupt(9)
    damage(cache / name, position)
    images = cached_images("ten", 10, numbered, flat)
    assert values(images) == list(range(10))


def damage(path, position):
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("position", [3, 100, 128, 5 * 37632, -1, -70])
def test_a_bit_flipped_in_a_decoded_set_is_named_and_decoded_again(cache, position):
    cached_images("ten", 10, numbered, flat)
    damage(cache / "ten.npy", position)
    with pytest.warns(UserWarning, match=r"faces/ten\.npy is damaged .* making it again"):
        images = cached_images("ten", 10, numbered, flat)
    assert values(images) == list(range(10))


@pytest.mark.parametrize("length", [0, 60, 128, 5 * 37632, -1, -80])
def test_a_decoded_set_cut_short_is_named_and_decoded_again(cache, length):
    path = cache / "ten.npy"
    cached_images("ten", 10, numbered, flat)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.warns(UserWarning, match=r"ten\.npy is damaged"):
        assert values(cached_images("ten", 10, numbered, flat)) == list(range(10))


def test_a_map_is_checked_once_in_a_process_and_again_when_it_has_changed(cache, monkeypatch):
    checked = []
    verify = image_cache._verify
    monkeypatch.setattr(
        image_cache,
        "_verify",
        lambda path, *rest: (checked.append(path.name), verify(path, *rest)),
    )
    for _ in range(3):
        cached_images("ten", 10, numbered, flat)
    assert checked == ["ten.npy"]
    os.utime(cache / "ten.npy", (0, 0))
    cached_images("ten", 10, numbered, flat)
    assert checked == ["ten.npy"] * 2


def test_a_kept_text_that_is_damaged_is_named_and_made_again(cache):
    assert cached_bytes("custom.txt", lambda: b"abc") == b"abc"
    assert cached_bytes("custom.txt", None) == b"abc"
    damage(cache / "custom.txt", 1)
    with pytest.warns(UserWarning, match=r"custom\.txt is damaged"):
        assert cached_bytes("custom.txt", lambda: b"abc") == b"abc"


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_two_processes_decode_once(cache, tmp_path):
    log = tmp_path / "log"

    def slow(value):
        with open(log, "a") as file:
            file.write(f"{value}\n")
        time.sleep(0.01)
        return flat(value)

    assert in_two_processes(lambda: values(cached_images("ten", 10, numbered, slow))) == [
        list(range(10)),
        list(range(10)),
    ]
    assert sorted(map(int, log.read_text().split())) == list(range(10))
    assert not list(cache.glob("*.part"))


def test_what_cannot_be_decoded_leaves_nothing_behind(cache):
    def broken(value):
        raise ValueError(f"image {value} is broken")

    with pytest.raises(ValueError, match="image 0 is broken"):
        cached_images("ten", 10, numbered, broken)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_full_disk_is_reported_and_the_work_so_far_kept(cache):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6 * 37632, limits[1]))
    try:
        with pytest.raises(OSError, match=rf"{os.strerror(errno.EFBIG)}: .*ten\.npy"):
            cached_images("ten", 10, numbered, flat)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    first_images = []
    cached_images("ten", 10, lambda first: (first_images.append(first), numbered(first))[1], flat)
    assert first_images == [4]
    assert values(np.load(cache / "ten.npy")) == list(range(10))


def test_two_at_the_same_time_decode_once(cache):
    calls, results = [], []

    def slow(value):
        calls.append(value)
        time.sleep(0.01)
        return flat(value)

    def work():
        results.append(values(cached_images("ten", 10, numbered, slow)))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [list(range(10))] * 3
    assert sorted(calls) == list(range(10))


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_a_killed_process_blocks_nobody(cache):
    fork = multiprocessing.get_context("fork")
    reached = fork.Event()

    def stuck(value):
        if value == 9:
            reached.set()
            time.sleep(60)
        return flat(value)

    process = fork.Process(target=cached_images, args=("ten", 10, numbered, stuck))
    process.start()
    assert reached.wait(60)
    process.kill()
    process.join()
    assert values(cached_images("ten", 10, numbered, flat)) == list(range(10))
