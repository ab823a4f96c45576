"""Blocks of our own give what torch's give."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cure_core.encoders.blocks import PReLU
from cure_core.encoders.small import halved


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_prelu_has_the_outputs_and_gradients_of_torchs(memory_format):
    torch.manual_seed(0)
    images = torch.randn(4, 8, 7, 7).to(memory_format=memory_format)
    images[0, 0, 0] = 0
    gradient = torch.randn(4, 8, 7, 7)
    found = []
    for kind in (nn.PReLU, PReLU):
        layer = kind(8)
        with torch.no_grad():
            layer.weight.copy_(torch.linspace(-0.5, 1.5, 8))
        inputs = images.clone().requires_grad_()
        outputs = layer(inputs)
        outputs.backward(gradient)
        with torch.no_grad():
            assert torch.equal(layer(images), outputs)
        found.append((outputs, inputs.grad, layer.weight.grad))
    assert torch.equal(found[0][0], found[1][0])
    for torchs, ours in zip(found[0][1:], found[1][1:], strict=True):
        torch.testing.assert_close(ours, torchs)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_halving_is_average_pooling(memory_format):
    images = torch.randint(0, 256, (3, 3, 112, 112)).float().to(memory_format=memory_format)
    assert torch.equal(halved(images), F.avg_pool2d(images, 2))
