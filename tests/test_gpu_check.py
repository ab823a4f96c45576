"""The checks meant for a GPU, run on the CPU: they must hold there too, and be able to fail."""

import runpy
from pathlib import Path

import pytest
import torch

GPU_CHECK = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "gpu_check.py"))


@pytest.mark.parametrize("name", ["check_losses", "check_kmeans"])
def test_checks_hold_on_the_cpu(name):
    checks = GPU_CHECK[name]("cpu")
    assert [c for c in checks if not c.passed] == []
    assert len({c.name for c in checks}) == len(checks) > 0


def test_not_a_number_is_a_failure():
    assert not GPU_CHECK["Check"]("nan", float("nan"), 1.0).passed


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_without_a_gpu_it_says_so(capsys):
    assert GPU_CHECK["main"]() == 2
    assert capsys.readouterr().out == "no GPU here: nothing checked\n"
