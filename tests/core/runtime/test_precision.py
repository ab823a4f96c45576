"""The gradient's norm, and denormal numbers on every thread."""

import multiprocessing
import os

import pytest
import torch

from cure_core.runtime.amp import gradient_scaler
from cure_core.runtime.denormals import flush_denormals
from cure_core.training.optimiser_step import optimiser_step


@pytest.mark.parametrize("clip", [None, 100.0, 0.5])
def test_the_norm_of_the_gradient_is_returned_with_and_without_clip(clip):
    """d(3 a + 4 b) is (3, 4), of length 5."""
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    unused = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([*weights, unused], lr=1.0)
    loss = (3 * weights[0] + 4 * weights[1]).sum()
    norm = optimiser_step(loss, optimiser, gradient_scaler(False, torch.device("cpu")), clip)
    assert norm.item() == pytest.approx(5)
    cut = min(1.0, (clip or 100) / 5)
    assert [w.item() for w in weights] == pytest.approx([-3 * cut, -4 * cut], rel=1e-5)


def test_a_gradient_without_a_number_shows_in_the_norm():
    """The slope of the root at 0 is infinite, while the loss is 0."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=1.0)
    norm = optimiser_step(
        weight.sqrt().sum(), optimiser, gradient_scaler(False, torch.device("cpu"))
    )
    assert not norm.isfinite()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_fork_of_a_process_with_workers_does_not_wait_for_them():
    torch.set_num_threads(2)
    torch.zeros(200_000).mul(1)  # starts the second thread
    torch.set_num_threads(1)  # a fork with more hangs at its first operation, in GNU OpenMP

    def work():
        with flush_denormals():
            torch.zeros(200_000).mul(1)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(60)
    process.kill()
    assert process.exitcode == 0


def test_denormals_are_flushed_on_every_thread_and_kept_afterwards():
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor has no such mode")
    torch.set_num_threads(2)
    denormal = torch.full((200_000,), 1e-39)
    left = (denormal.mul(1) != 0).sum().item()  # starts the second thread
    assert left == 200_000
    for _ in range(2):
        with flush_denormals():
            assert (denormal.mul(1) != 0).sum() == 0
            with flush_denormals():
                assert (denormal.mul(1) != 0).sum() == 0
            assert (denormal.mul(1) != 0).sum() == 0
        assert (denormal.mul(1) != 0).sum() == 200_000
