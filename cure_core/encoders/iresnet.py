"""IResNet, the residual network of ArcFace (arXiv:1801.07698, section 3.2.1; blocks: 1610.02915).

The parameters bear the names of InsightFace's `arcface_torch`, so that its `backbone.pth` loads.
"""

import torch
from torch import Tensor, nn

from cure_core.encoders.blocks import PReLU

UNITS = {"iresnet18": (2, 2, 2, 2), "iresnet50": (3, 4, 14, 3), "iresnet100": (3, 13, 30, 3)}
WIDTHS = (64, 128, 256, 512)


class Unit(nn.Module):
    """BN, convolution, BN, PReLU, strided convolution, BN; beside a skip."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride > 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else self.downsample(x)
        x = self.conv1(self.bn1(x))
        return self.bn3(self.conv2(self.prelu(self.bn2(x)))) + skip


class IResNet(nn.Module):
    """`units` residual units in four stages, each of which halves the image; 512-d.

    Takes RGB images as all encoders here do; pixels are scaled as (x - 127.5) / 127.5.
    """

    def __init__(self, units: tuple[int, ...], dim: int = 512) -> None:
        super().__init__()
        self.dim = dim
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.prelu = PReLU(WIDTHS[0])
        channels = WIDTHS[0]
        for stage, (count, width) in enumerate(zip(units, WIDTHS, strict=True), start=1):
            blocks = [
                Unit(channels if i == 0 else width, width, 1 + (i == 0)) for i in range(count)
            ]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            channels = width
        self.bn2 = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels * 7 * 7, dim)
        self.features = nn.BatchNorm1d(dim)
        self.features.weight.requires_grad = False  # stays 1: what follows is a direction
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.1)

    def forward(self, images: Tensor) -> Tensor:
        x = (images.float() - 127.5) / 127.5
        x = self.prelu(self.bn1(self.conv1(x)))
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            x = self.get_submodule(stage)(x)
        return self.features(self.fc(torch.flatten(self.bn2(x), 1))).float()
