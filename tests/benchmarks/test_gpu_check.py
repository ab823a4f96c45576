"""The checks meant for a GPU, run on the CPU: they must hold there too, and be able to fail."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
gpu_check = importlib.import_module("gpu_check")


@pytest.mark.parametrize("name", ["check_losses", "check_kmeans"])
def test_checks_hold_on_the_cpu(name):
    checks = getattr(gpu_check, name)("cpu")
    assert [c for c in checks if not c.passed] == []
    assert len({c.name for c in checks}) == len(checks) > 0


def test_not_a_number_is_a_failure():
    assert not gpu_check.Check("nan", float("nan"), 1.0).passed


def test_the_debug_mode_spans_every_step_whole(monkeypatch):
    """Entered before the first batch is drawn, left when the loop asks for one more."""
    seen = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", seen.append)
    drawn = (seen.append(f"drawn {i}") or i for i in range(2))
    for batch in gpu_check._unwaiting(drawn):
        seen.append(f"stepped {batch}")
    assert seen == ["error", "drawn 0", "stepped 0", "drawn 1", "stepped 1", "default"]


def test_a_step_that_waits_fails_the_check(monkeypatch, capsys):
    """Stands in for CUDA, which raises RuntimeError where a step waits; the mode is put back."""
    modes = []

    def mode(name):
        modes.append(name)
        if name == "error":
            raise RuntimeError("called a synchronizing CUDA operation")

    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", mode)
    epoch = lambda around=iter: list(around(iter(())))  # noqa: E731
    monkeypatch.setattr(gpu_check, "unlearning_epoch", lambda *_: epoch)
    checks = gpu_check.check_no_waiting("cpu")
    assert [c.passed for c in checks] == [False, False]
    assert modes[-1] == "default"
    assert "a step waits for the GPU" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_without_a_gpu_it_says_so(capsys):
    assert gpu_check.main() == 2
    assert capsys.readouterr().out == "no GPU here: nothing checked\n"
