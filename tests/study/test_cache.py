"""Cache entries: made once by the first process, and again if they are damaged."""

import importlib.util
import os
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import torch
from processes import in_two_processes

from cure_core import encoders
from cure_core.encoders import Adapted, SmallEncoder
from cure_core.encoders.model_files import read_model, write_model
from cure_core.files import DamagedFileError, read_sealed, write_sealed
from cure_core.training.arcface import Recipe
from cure_core.unlearning import CureConfig
from cure_study import cache, training_cache
from cure_study.cache import cached
from cure_study.data.faceset import FaceSet
from cure_study.experiments import study
from cure_study.paths import cache_root
from cure_study.training_cache import train_cached


def test_of_two_processes_one_trains_and_both_have_the_result(monkeypatch):
    """The encoder, and the student of it."""
    trained = []

    def counted(name, train):
        return lambda *args, **options: (trained.append(name), train(*args, **options))[1]

    monkeypatch.setitem(encoders.REGISTRY, "tiny", lambda: SmallEncoder(dim=8, widths=(4, 4, 4)))
    monkeypatch.setattr(training_cache, "train", counted("teacher", training_cache.train))
    monkeypatch.setattr(study, "unlearn", counted("student", study.unlearn))
    images = np.random.default_rng(0).integers(0, 256, (98, 112, 112, 3)).astype(np.uint8)
    setting = study.StudySetting(
        "tiny",
        forget_people=3,
        split={"min_images": 6, "outsiders": 4, "heldout": 0.3},
        recipe=Recipe(epochs=1, batch_size=16),
        config=CureConfig(clusters=(2, 3), epochs=1, batch_size=(8, 8)),
        n_pairs=20,
    )
    case = study.prepare(FaceSet("painted", images, np.arange(98) // 7, "abc"), setting, 0)

    def run():
        teacher = study.train_teacher(case, False)
        return trained, teacher.losses, study.forget(case, teacher, False).history.to_dict("list")

    (first, *result), (second, *other) = in_two_processes(run, seconds=120)
    assert sorted(first + second) == ["student", "teacher"]
    assert result == other


def entry(tmp_path):
    """A path in the cache, what makes it (counted), and what reads it."""
    path, calls = tmp_path / "entries" / "one", []

    def make():
        calls.append(1)
        write_sealed(path, b"content")

    return path, calls, make


def test_an_entry_is_made_once(tmp_path):
    path, calls, make = entry(tmp_path)
    assert [cached(path, make, read_sealed) for _ in range(2)] == [b"content"] * 2
    assert len(calls) == 1


def test_a_damaged_entry_is_named_and_made_again(tmp_path):
    path, calls, make = entry(tmp_path)
    cached(path, make, read_sealed)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.warns(UserWarning, match=f"{path} is damaged .* making it again"):
        assert cached(path, make, read_sealed) == b"content"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cached(path, make, read_sealed) == b"content"
    assert len(calls) == 2


def test_waiting_for_another_process_is_reported(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cache, "QUIET", 0.01)
    path, calls, make = entry(tmp_path)
    held = threading.Event()

    def other():
        with cache._lock(path):
            held.set()
            time.sleep(0.2)

    thread = threading.Thread(target=other)
    thread.start()
    held.wait()
    assert cached(path, make, read_sealed) == b"content"
    thread.join()
    assert f"waiting for another process, which is making {path}" in capsys.readouterr().err
    assert len(calls) == 1


def test_the_lock_is_free_after_a_failure(tmp_path):
    path, _, make = entry(tmp_path)

    def fails():
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        cached(path, fails, read_sealed)
    assert cached(path, make, read_sealed) == b"content"


def test_a_cache_that_cannot_be_written_is_an_oserror_by_its_path(tmp_path, monkeypatch):
    path, _, make = entry(tmp_path)

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(cache, "locked", refuse)
        with pytest.raises(PermissionError, match=f"set CURE_CACHE to another .*{path}"):
            cached(path, make, read_sealed)
        write_sealed(path, b"of another process")  # what is there is read without a lock
        assert cached(path, make, read_sealed) == b"of another process"
    blocked = tmp_path / "file"
    blocked.write_text("a file where the cache should be", encoding="utf-8")
    with pytest.raises(OSError, match=str(blocked)):
        cached(blocked / "encoders" / "one", make, read_sealed)


STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(7)}
MADE = {"losses": [0.5, float("nan")], "seconds": 1.25}


def test_a_model_file_holds_what_was_written(tmp_path):
    """Also what lies in another order in memory, or twice in one network."""
    path = tmp_path / "model.safetensors"
    shared = torch.zeros(1, 3, 2, 2).to(memory_format=torch.channels_last)
    written = STATE | {
        "b": shared,
        "c": shared,
        "d": STATE["a.weight"].T,
        "e": torch.ones(0).half(),
    }
    write_model(path, written, MADE)
    state, made = read_model(path)
    assert state.keys() == written.keys()
    for name, tensor in state.items():
        assert tensor.dtype == written[name].dtype
        assert torch.equal(tensor, written[name])
        assert tensor.is_contiguous()
    assert str(made) == str(MADE)


def test_flipped_bits_and_cuts_of_a_model_file_is_noticed(tmp_path):
    path = tmp_path / "model.safetensors"
    write_model(path, STATE, MADE)
    whole = path.read_bytes()
    silent = []
    for bit in range(0, 8 * len(whole), 7):  # 7 and 8 are coprime: all bits of a byte in turn
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            state, made = read_model(path)
        except DamagedFileError as error:
            assert str(path) in str(error)  # noqa: PT017
            continue
        same = all(torch.equal(state[name], tensor) for name, tensor in STATE.items())
        silent += [] if same and str(made) == str(MADE) and len(state) == 2 else [bit]
    assert silent == []
    for length in range(0, len(whole), 5):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedFileError, match=str(path)):
            read_model(path)
    os.remove(path)
    with pytest.raises(FileNotFoundError, match=str(path)):
        read_model(path)


def test_a_full_disk_is_an_oserror_by_the_files_name(tmp_path):
    resource = pytest.importorskip("resource", reason="only POSIX limits the size of files")
    path = tmp_path / "model.safetensors"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OSError, match=f"File too large: '{path}'"):
            write_model(path, STATE, MADE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_checkpoint_of_the_cache_is_named_and_the_training_starts_from_scratch(
    tiny_encoder, draw_faces
):
    images, people = draw_faces(3, 4)
    recipe = Recipe(epochs=1, batch_size=4)
    expected = train_cached(tiny_encoder(), images, people, recipe)
    (entry,) = (cache_root() / "encoders").glob("*.safetensors")
    entry.unlink()
    stopped = cache_root() / "checkpoints" / f"encoder-{entry.stem}.pt"
    stopped.parent.mkdir(exist_ok=True)
    stopped.write_bytes(b"damaged")
    with pytest.warns(UserWarning, match=f"{stopped.name}.*starting from scratch"):
        again = train_cached(tiny_encoder(), images, people, recipe)
    assert again.losses == expected.losses
    assert not stopped.exists()


def test_encoders_that_differ_only_in_preprocessing_or_code_have_keys_of_their_own(tmp_path):
    network = SmallEncoder(dim=8, widths=(4, 4, 4))
    plain = training_cache.architecture(Adapted(network))
    assert training_cache.architecture(Adapted(network).train()) == plain
    assert training_cache.architecture(Adapted(network, bgr=True)) != plain
    source = tmp_path / "my_encoder.py"
    versions = []
    for comment in ("# first", "# second"):
        source.write_text(f"{comment}\nfrom torch import nn\nclass Mine(nn.Linear): pass\n")
        spec = importlib.util.spec_from_file_location("my_encoder", source)
        module = importlib.util.module_from_spec(spec)
        sys.modules["my_encoder"] = module
        spec.loader.exec_module(module)
        versions.append(training_cache.architecture(module.Mine(1, 1)))
    del sys.modules["my_encoder"]
    assert versions[0] != versions[1]
