"""The benchmark runs and measures what it says; how fast is not a test's business."""

import importlib
import math
import sys
from pathlib import Path

from cure_core.unlearning import CureConfig

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
step_ratio = importlib.import_module("step_ratio")

CONFIG = CureConfig(clusters=2, batch_size=(4, 8))


def test_a_run_gives_finite_times_and_prints_them():
    measured = step_ratio.step_ratio("small", steps=2, rounds=2, config=CONFIG)
    for number in (measured.bare_ms, measured.unlearn_ms, *measured.ratios):
        assert math.isfinite(number)
        assert number > 0
    assert len(measured.ratios) == 2
    head, row = str(measured).splitlines()
    assert head.split()[:2] == ["encoder", "device"]
    assert "4 + 8" in row


def test_both_take_as_many_steps_of_the_same_batch(tiny_encoder):
    """In train mode, and each with an optimiser that moves the weights."""
    for make in (step_ratio.bare_epoch, step_ratio.unlearning_epoch):
        student, batches = tiny_encoder(0), []
        before = student.project.conv.weight.clone()
        epoch = make(student, 3, "cpu", CONFIG)
        student.register_forward_pre_hook(
            lambda module, inputs, batches=batches: batches.append(
                (tuple(inputs[0].shape), inputs[0].stride(), module.training)
            )
        )
        epoch()
        assert batches == [((12, 3, 112, 112), (37632, 1, 336, 3), True)] * 3
        assert not before.equal(student.project.conv.weight)
