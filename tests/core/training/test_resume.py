"""Runs that are killed, stopped or starved end, taken up again, as if nothing had happened."""

import multiprocessing
import os
import random
import signal
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from failing_step import failing_step

from cure_core import unlearning
from cure_core.objectives import build
from cure_core.runtime import memory
from cure_core.training import checkpoint as checkpoints
from cure_core.training import footprint, loop
from cure_core.training.arcface import Recipe, train
from cure_core.unlearning import CureConfig, UnlearningDivergedError, unlearn

CONFIG = CureConfig(clusters=(3, 4), epochs=4, tau=2, batch_size=(2, 4), learning_rate=1e-3)
RECIPE = Recipe(epochs=3, batch_size=4)

forked = pytest.mark.skipif(not hasattr(os, "fork"), reason="a fork spares importing torch anew")


@pytest.fixture
def sets(draw_faces):
    images, _ = draw_faces(7, 4)
    return images[:12], images[12:]


def same(a, b) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def assert_same_run(a, b) -> None:
    assert same(a.student, b.student)
    pd.testing.assert_frame_equal(a.history, b.history, check_exact=True)


def unlearning_job(tiny_encoder, sets, path, **changes):
    return unlearn(tiny_encoder(), *sets, replace(CONFIG, **changes), checkpoint=path)


def training_job(tiny_encoder, sets, path):
    people = np.arange(16) // 4
    return train(tiny_encoder(), sets[1], people, RECIPE, checkpoint=path)


def in_a_process(job, started=None, ends_after=None):
    """Fork, say when the work begins, and do it; every step is followed by a checkpoint.

    After `ends_after` seconds of computing the process ends as by kill -9: SIGPROF has no handler.
    """

    def work():
        loop.SAVE_EVERY = 0.0
        if started is not None:
            started.set()
        if ends_after is not None:
            signal.setitimer(signal.ITIMER_PROF, ends_after)
        job()

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


@forked
@pytest.mark.parametrize("job", [unlearning_job, training_job])
def test_killed_at_random_moments_and_resumed_is_the_same_to_the_last_bit(
    job, tiny_encoder, sets, tmp_path
):
    """Steps take milliseconds, and so does a save: kills fall into both."""
    path, rng = tmp_path / "run.pt", random.Random(0)
    whole = job(tiny_encoder, sets, None)
    began = time.process_time()
    job(tiny_encoder, sets, None)
    long = time.process_time() - began  # without saves, which take longer than the steps
    within = 0
    for kill in range(60):
        process = in_a_process(
            lambda: job(tiny_encoder, sets, path), ends_after=rng.uniform(0.1, 0.7) * long
        )
        process.join(60)
        if path.exists():
            state = torch.load(path, weights_only=True)["state"]
            within += state["step"] > 0
        if kill >= 5 and within:
            break
        if process.exitcode == 0:  # it ended before it was killed: from the start, and sooner
            for file in (path, path.with_name("run.pt.1")):  # it goes on from the older one, too
                file.unlink(missing_ok=True)
            long *= 0.7
        elif not path.exists():  # killed before anything was saved
            long *= 1.4
    assert within, "no kill fell inside an epoch: the test has seen nothing"
    again = job(tiny_encoder, sets, path)
    if job is unlearning_job:
        assert_same_run(again, whole)
    else:
        assert same(again.encoder, whole.encoder)
        assert again.losses == whole.losses
    for (
        file
    ) in tmp_path.iterdir():  # what a kill left unfinished goes at the first start an hour on
        os.utime(file, (0, 0))
    checkpoints.Checkpoint(path, {}).discard()
    job(tiny_encoder, sets, path)
    assert {p.name for p in tmp_path.iterdir()} == {"run.pt", "run.pt.1"}


@pytest.mark.parametrize(
    ("method", "stop"), [("cure", 1), ("cure", 14), ("cure_plus", 9), ("scrub", 9), ("laf", 1)]
)
def test_every_method_goes_on_from_within_an_epoch(
    method, stop, tiny_encoder, sets, tmp_path, monkeypatch
):
    """Six steps an epoch; what an objective made in `begin_epoch` has to be in the file."""
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    path = tmp_path / "run.pt"
    settings = {"steps": 5} if method == "laf" else {}
    run = {"objective": build(method, **settings)}
    whole = unlearn(tiny_encoder(), *sets, CONFIG, **run)

    with failing_step(stop + 1), pytest.raises(KeyboardInterrupt):
        unlearn(tiny_encoder(), *sets, CONFIG, **run, checkpoint=path)
    assert torch.load(path, weights_only=True)["state"]["step"] == stop % 6
    assert_same_run(unlearn(tiny_encoder(), *sets, CONFIG, **run, checkpoint=path), whole)


def test_an_encoder_with_dropout_draws_on_where_it_was(tiny_encoder, sets, tmp_path, monkeypatch):
    """Its masks come from torch's own generator, which is in the file too."""
    path = tmp_path / "run.pt"
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    teacher = tiny_encoder()
    teacher.stages.append(torch.nn.Dropout(0.3))

    torch.manual_seed(5)
    whole = unlearn(teacher, *sets, CONFIG)
    torch.manual_seed(5)
    with failing_step(9), pytest.raises(KeyboardInterrupt):
        unlearn(teacher, *sets, CONFIG, checkpoint=path)
    torch.rand(3)
    assert_same_run(unlearn(teacher, *sets, CONFIG, checkpoint=path), whole)


@forked
def test_two_processes_with_one_checkpoint_both_end_with_the_run(tiny_encoder, sets, tmp_path):
    """Each saves after every step, over the other's file."""
    path, whole = tmp_path / "run.pt", unlearn(tiny_encoder(), *sets, CONFIG)

    def job():
        assert_same_run(unlearning_job(tiny_encoder, sets, path), whole)

    both = [in_a_process(job) for _ in range(2)]
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    assert_same_run(unlearning_job(tiny_encoder, sets, path), whole)
    assert {p.name for p in tmp_path.iterdir()} == {"run.pt", "run.pt.1"}


@forked
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_finishes_the_step_saves_and_goes(number, tiny_encoder, sets, tmp_path):
    """With a minute between saves: what is in the file was written because of the signal."""
    path = tmp_path / "run.pt"
    context = multiprocessing.get_context("fork")
    started = context.Event()

    def work():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        slow = unlearning.optimiser_step

        def slowly(*arguments, **options):
            started.set()
            time.sleep(0.05)
            return slow(*arguments, **options)

        unlearning.optimiser_step = slowly
        unlearning_job(tiny_encoder, sets, path, epochs=400)

    process = context.Process(target=work)
    process.start()
    assert started.wait(60)
    time.sleep(0.2)
    os.kill(process.pid, number)
    process.join(60)
    assert process.exitcode == (-15 if number == signal.SIGTERM else 1)
    state = torch.load(path, weights_only=True)["state"]
    assert state["step"] > 0 or state["history"]


def test_a_lost_device_is_said_and_the_run_goes_on_from_the_last_save(tiny_encoder, sets, tmp_path):
    """What a driver raises when a GPU falls off the bus is a RuntimeError from any kernel."""
    path, error = tmp_path / "run.pt", RuntimeError("CUDA error: unspecified launch failure")
    with failing_step(9, error), pytest.raises(RuntimeError, match="CUDA") as caught:
        unlearning_job(tiny_encoder, sets, path)
    assert any(str(path) in note for note in caught.value.__notes__)
    assert_same_run(
        unlearning_job(tiny_encoder, sets, path), unlearning_job(tiny_encoder, sets, None)
    )


def test_a_state_that_is_not_a_number_is_never_saved(tiny_encoder, sets, tmp_path, monkeypatch):
    """From step 9, the third of epoch 2, the gradient is NaN: no file after step 8 is written."""
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    path, step, steps = tmp_path / "run.pt", unlearning.optimiser_step, []

    def breaks(loss, *arguments, **options):
        steps.append(1)
        return step(loss * torch.nan if len(steps) >= 9 else loss, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(unlearning, "optimiser_step", breaks)
        with pytest.raises(UnlearningDivergedError) as caught:
            unlearning_job(tiny_encoder, sets, path)
    assert any(str(path) in note for note in caught.value.__notes__)
    assert len(caught.value.history) == 1
    state = torch.load(path, weights_only=True)["state"]
    assert state["step"] == 2
    assert all(tensor.isfinite().all() for tensor in state["parts"]["student"].values())
    resumed = unlearning_job(tiny_encoder, sets, path)  # where it was the machine's fault
    assert_same_run(resumed, unlearning_job(tiny_encoder, sets, None))


def test_a_diverging_run_taken_up_within_an_epoch_gives_the_same_last_good_student(
    tiny_encoder, sets, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    path, step = tmp_path / "run.pt", unlearning.optimiser_step

    def run(fails_at, stops_at, path):
        steps = []

        def breaks(loss, *arguments, **options):
            steps.append(1)
            if len(steps) == stops_at:
                raise KeyboardInterrupt
            factor = torch.nan if len(steps) >= fails_at else 1.0
            return step(loss * factor, *arguments, **options)

        with monkeypatch.context() as patched:
            patched.setattr(unlearning, "optimiser_step", breaks)
            unlearning_job(tiny_encoder, sets, path)

    with pytest.raises(UnlearningDivergedError) as alone:
        run(11, None, None)
    with pytest.raises(KeyboardInterrupt):
        run(11, 9, path)
    with pytest.raises(UnlearningDivergedError) as resumed:
        run(3, None, path)  # eight steps are behind it
    assert_same_run(resumed.value, alone.value)


def test_a_training_of_another_recipe_or_data_is_refused_by_name(tiny_encoder, sets, tmp_path):
    path, people = tmp_path / "run.pt", np.arange(16) // 4
    train(tiny_encoder(), sets[1], people, RECIPE, checkpoint=path)
    others = {
        "recipe.margin: 0.4 there, 0.2 now": (sets[1], people, replace(RECIPE, margin=0.2)),
        "people: '.*' there, '.*' now": (sets[1], people[::-1], RECIPE),
        "images: '.*' there, '.*' now": (sets[1][::-1], people, RECIPE),
    }
    for named, run in others.items():
        with pytest.raises(ValueError, match=named):
            train(tiny_encoder(), *run, checkpoint=path)


# Memory.


def test_the_footprint_of_an_image_is_what_autograd_keeps():
    """By hand: a ReLU after a convolution keeps its output; the convolution keeps its input."""
    from torch import nn

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 1, bias=False)

        def forward(self, images):
            return self.conv(images.float()).relu().sum((2, 3))

    need = footprint.footprint(Plain(), torch.device("cpu"), False, train=True)
    assert need.image == 4 * 112 * 112 * (3 + 8)
    assert need.weights == 4 * 3 * 8
    assert need.dim == 8


def test_a_run_that_cannot_fit_is_refused_with_the_batch_that_would(
    tiny_encoder, sets, monkeypatch
):
    config = replace(CONFIG, batch_size=(12, 16))
    need = footprint.footprint(tiny_encoder(), torch.device("cpu"), False, train=True)
    fixed = 5 * need.weights + need.step + 2 * 4 * need.dim * 28
    monkeypatch.setattr(
        footprint, "available", lambda device: fixed + 14.5 * footprint.MARGIN * need.image
    )

    def never(*_):
        raise AssertionError("the teacher was asked")

    with monkeypatch.context() as patched:
        patched.setattr(unlearning, "teacher_views", never)
        with pytest.raises(MemoryError) as caught:
            unlearn(tiny_encoder(), *sets, config)
    said = str(caught.value)
    assert "batch_size=(12, 16) needs about" in said
    assert said.endswith("batch_size=(6, 8) would fit")
    unlearn(tiny_encoder(), *sets, replace(config, batch_size=(6, 8), epochs=1))
    with pytest.raises(MemoryError, match=r"batch_size=16 needs .*batch_size=\d+ would fit"):
        train(tiny_encoder(), sets[1], np.arange(16) // 4, replace(RECIPE, batch_size=16))


def test_where_no_batch_fits_that_is_said(tiny_encoder, sets, monkeypatch):
    monkeypatch.setattr(footprint, "available", lambda device: 1000.0)
    with pytest.raises(MemoryError, match="no batch would fit"):
        unlearn(tiny_encoder(), *sets, CONFIG)


def test_what_is_left_of_a_containers_limit(tmp_path):
    for name, content in (
        ("memory.max", "5000\n"),
        ("memory.current", "3000\n"),
        ("memory.stat", "anon 2000\ninactive_file 700\n"),
    ):
        (tmp_path / name).write_text(content)
    assert memory._cgroup_left(tmp_path) == 2700
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._cgroup_left(tmp_path) == float("inf")
    assert memory._cgroup_left(tmp_path / "none") == float("inf")
