"""The loop that unlearning and training share, on a part that only counts."""

import signal

import pytest
import torch

from cure_core.training import loop as loops
from cure_core.training.checkpoint import Checkpoint
from cure_core.training.loop import DivergedError, Loop

STEPS, EPOCHS = 3, 2


class Total:
    """A part of a run: the sum of all batches that were drawn."""

    def __init__(self):
        self.value = torch.zeros(())

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value = state["value"]


def make_loop(path, **options):
    options = {"problem": lambda: None, **options}
    generator, device = torch.Generator().manual_seed(0), torch.device("cpu")
    return Loop({"total": Total()}, generator, Checkpoint(path, {}), device, **options)


def run(loop, stop=None):
    """Each step draws a number; `stop` = (epoch, step) raises before it."""
    loop.resume()
    with loop:
        for epoch in loop.epochs(EPOCHS, "counting", False):
            numbers = torch.rand(STEPS, generator=loop.generator)
            for step in range(loop.step, STEPS):
                if (epoch, step) == stop:
                    raise KeyboardInterrupt
                loop.parts["total"].value = loop.parts["total"].value + numbers[step]
                loop.add(numbers[step][None])
            loop.end_epoch({"sum": loop.totals()[0]})
    return loop


@pytest.mark.parametrize(
    "stop", [(epoch, step) for epoch in range(EPOCHS) for step in range(STEPS)]
)
def test_a_run_resumed_at_any_step_ends_like_an_uninterrupted_one(stop, tmp_path, monkeypatch):
    monkeypatch.setattr(loops, "SAVE_EVERY", 0.0)
    whole = run(make_loop(None))
    with pytest.raises(KeyboardInterrupt) as caught:
        run(make_loop(tmp_path / "run.pt"), stop)
    notes = getattr(caught.value, "__notes__", [])
    assert [str(tmp_path / "run.pt") in note for note in notes] == [True] * (stop != (0, 0))
    resumed = run(make_loop(tmp_path / "run.pt"))
    assert resumed.history == whole.history
    assert torch.equal(resumed.parts["total"].value, whole.parts["total"].value)


def test_a_save_is_pending_after_a_minute(tmp_path, monkeypatch):
    clock, path = [100.0], tmp_path / "run.pt"
    monkeypatch.setattr(loops.time, "monotonic", lambda: clock[0])
    loop = make_loop(path)
    for now, saved in ((159.0, False), (160.0, True)):
        clock[0] = now
        loop.add(torch.ones(1))
        assert path.exists() == saved
    path.unlink()
    clock[0] = 219.0
    loop.add(torch.ones(1))
    assert not path.exists()


def test_a_signal_waits_for_the_end_of_the_step_which_saves(tmp_path):
    received, path = [], tmp_path / "run.pt"
    before = signal.signal(signal.SIGTERM, lambda *_: received.append(path.exists()))
    try:
        with make_loop(path) as loop:
            signal.raise_signal(signal.SIGTERM)
            assert received == []
            loop.add(torch.ones(1))
            assert received == [True]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_is_not_finite_is_an_error_and_never_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(loops, "SAVE_EVERY", 0.0)
    loop = make_loop(tmp_path / "run.pt", check_every=2)
    loop.add(torch.tensor([torch.nan]))
    with pytest.raises(DivergedError, match="not finite in epoch 1, by step 2"):
        loop.add(torch.ones(1))
    loop = make_loop(tmp_path / "run.pt", problem=lambda: "the weights are not finite")
    loop.add(torch.ones(1))
    with pytest.raises(DivergedError, match="the weights are not finite after epoch 1"):
        loop.totals()
    assert list(tmp_path.iterdir()) == []


def test_rolling_back_returns_the_network_and_the_generator_to_the_start_of_the_epoch():
    network = torch.nn.Linear(2, 2)
    loop = make_loop(None, fallback=network)
    weight, state = network.weight.detach().clone(), loop.generator.get_state()
    with torch.no_grad():
        network.weight += 1
    torch.rand(3, generator=loop.generator)
    loop.roll_back()
    assert torch.equal(network.weight, weight)
    assert torch.equal(loop.generator.get_state(), state)
