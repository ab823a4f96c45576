"""bfloat16 where the processor is faster with it."""

import pytest
import torch

from cure_core.config import CureConfig
from cure_core.runtime import amp
from cure_study.experiments.study import StudySetting


@pytest.mark.parametrize(
    ("capabilities", "fast"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx512_f": True}, False)],
)
def test_auto_is_bfloat16_on_processors_that_have_it(capabilities, fast, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert amp.resolved("auto", "cpu") is fast
    assert StudySetting(config=CureConfig(amp="auto")).config.amp is fast  # in every digest
    for named in (False, True, "bfloat16", "float16"):
        assert amp.resolved(named, "cpu") == named


def test_a_torch_that_does_not_say_what_a_processor_can_do_uses_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert amp.resolved("auto", "cpu") is False
