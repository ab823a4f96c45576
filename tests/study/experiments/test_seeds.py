"""Seeds that run side by side: the order of their stages, their numbers, and what goes wrong."""

import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from small_study import SETTING, painted

from cure_study.data.faceset import ConcatImages, FaceSet
from cure_study.experiments import seeds, study


@pytest.fixture
def faces(draw_faces):
    return painted(draw_faces)


@pytest.fixture
def threads(monkeypatch):
    """Sets how many threads torch says it has."""
    return lambda count: monkeypatch.setattr(torch, "get_num_threads", lambda: count)


def test_two_processes_give_the_numbers_of_one(faces, threads, tmp_path, monkeypatch, capsys):
    tables = {}
    for count in (1, 2):
        threads(count)
        monkeypatch.setenv("CURE_CACHE", str(tmp_path / str(count)))
        found = list(seeds.run_seeds(faces, SETTING, [0, 1], n_bootstrap=5, progress=False))
        assert [outcome.case.seed for outcome in found] == [0, 1]
        tables[count] = [outcome.report.rows for outcome in found]
        printed = capsys.readouterr().out
        assert printed.count("\n") == 12
        assert re.search(r"(?m)^seed 2 of 2: oracle, \d+ s$", printed)
    for one, two in zip(tables[1], tables[2], strict=True):
        assert one.equals(two)
    assert not multiprocessing.active_children()


def test_models_can_be_trained_ahead(faces, threads, monkeypatch):
    threads(1)
    seeds.pretrain(faces, SETTING, [0], progress=False)
    monkeypatch.setattr("cure_study.training_cache.train", lambda *_, **__: pytest.fail("trained"))
    case = study.prepare(faces, SETTING, 0)
    study.forget(case, study.train_teacher(case, False), False)


@pytest.mark.parametrize("workers", [2, 3, 12])
def test_a_stage_waits_for_its_needs_and_the_first_seed_goes_first(workers, monkeypatch):
    """With a pool of threads, in which a stage takes no time."""

    @contextmanager
    def pool(count):
        with ThreadPoolExecutor(count) as threads:
            yield threads

    order = []

    def run_stage(faces, setting, n_bootstrap, seed, name, progress, given):
        assert all((seed, need) in order for need in seeds.NEEDS[name])
        assert given == {need: f"{need} of {seed}" for need in seeds.NEEDS[name]}
        return f"{name} of {seed}", 0.0

    monkeypatch.setattr(seeds, "_pool", pool)
    monkeypatch.setattr(seeds, "_run_stage", run_stage)
    stages = [(0, name) for name in seeds.NEEDS]
    stages += [(seed, name) for name in seeds.NEEDS for seed in (1, 2)]
    for stage, report, _ in seeds._run_in_processes((None, None, 0), stages, workers):
        assert report == f"{stage[1]} of {stage[0]}"
        order.append(stage)
    assert sorted(order) == sorted(stages)
    if workers == 2:  # the first seed's report needs at most one training of another seed's
        assert order.index((0, "report")) <= 6


def test_an_error_in_a_process_is_raised_here_and_ends_the_others(faces, threads):
    threads(2)
    wrong = replace(SETTING, encoder="nothing")
    with pytest.raises(ValueError, match="nothing"):
        list(seeds.run_seeds(faces, wrong, [0, 1], progress=False))
    assert not multiprocessing.active_children()


def test_a_process_that_is_killed_is_reported_with_the_remedy():
    with seeds._pool(1) as pool:
        worker = pool.submit(os.getpid).result()
        killed = pool.submit(os.kill, worker, signal.SIGKILL)
        with pytest.raises(RuntimeError, match="was killed, perhaps because memory ran out"):
            seeds._result(killed)
    assert not multiprocessing.active_children()


def test_a_face_set_reaches_another_process_without_the_content_of_its_maps(tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.arange(3 * 112 * 112 * 3, dtype=np.uint8).reshape(3, 112, 112, 3))
    images = np.load(path, mmap_mode="r")
    both = ConcatImages((images, images[1:]))  # a slice goes with its content
    for content, most in ((images, 2_000), (both, 2 * 112 * 112 * 3 + 2_000)):
        sent = pickle.dumps(FaceSet("mapped", content, np.arange(len(content)), "abc"))
        assert len(sent) < most
        received = pickle.loads(sent)
        index = np.arange(len(content))
        assert np.array_equal(received.images[index], content[index])
    assert isinstance(received.images.parts[0], np.memmap)


@pytest.mark.slow  # as the other tests that kill
def test_processes_end_with_a_notebook_that_is_killed():
    """Theirs is another session, which a signal to the notebook's does not reach."""
    code = (
        "import os, time; from cure_study.experiments import seeds\n"
        "if __name__ == '__main__':\n"
        "    with seeds._pool(1) as pool:\n"
        "        print(pool.submit(os.getpid).result(), flush=True)\n"
        "        pool.submit(time.sleep, 120).result()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as main:
        worker = psutil.Process(int(main.stdout.readline()))
        main.kill()
        worker.wait(60)
    assert not worker.is_running()
