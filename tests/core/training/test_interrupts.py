"""Signals to stop, deferred until a run has saved."""

import signal

import pytest

from cure_core.training import interrupts
from cure_core.training.interrupts import DeferredSignals


@pytest.fixture
def received():
    """The signals that act; Python's own handler of SIGTERM would end the tests."""
    numbers = []
    both = (signal.SIGINT, signal.SIGTERM)
    before = {n: signal.signal(n, lambda n, frame: numbers.append(n)) for n in both}
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


numbers = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@numbers
def test_a_signal_waits_until_it_is_delivered(number, received, capsys):
    with DeferredSignals() as signals:
        signals.message = "saved in run.pt"
        signal.raise_signal(number)
        assert signals.pending == number
        assert received == []
        signals.deliver()
        assert received == [number]
        assert signals.pending is None
    assert f"{signal.Signals(number).name}: saved in run.pt" in capsys.readouterr().err


@numbers
def test_a_second_signal_acts_at_once_but_not_a_launchers_echo(number, received, monkeypatch):
    with DeferredSignals():
        signal.raise_signal(number)
        signal.raise_signal(number)
        assert received == []
        monkeypatch.setattr(interrupts, "ECHO", -1)
        signal.raise_signal(number)
        assert received == [number]


@numbers
def test_a_pending_signal_acts_at_the_end_of_the_block_after_an_error_too(number, received):
    with DeferredSignals():
        signal.raise_signal(number)
    assert received == [number]

    def fails():
        with DeferredSignals():
            signal.raise_signal(number)
            raise FloatingPointError

    with pytest.raises(FloatingPointError):
        fails()
    assert received == [number] * 2
