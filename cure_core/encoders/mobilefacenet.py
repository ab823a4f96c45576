"""MobileFaceNet (arXiv:1804.07573)."""

from torch import Tensor, nn

from cure_core.encoders.blocks import ConvBlock, PReLU


class Bottleneck(nn.Module):
    """Inverted residual: expand, depthwise, project."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False),
            nn.BatchNorm2d(width),
            PReLU(width),
            nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            PReLU(width),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileFaceNet(nn.Module):
    """MobileFaceNet, 128-d, about 1.0 M parameters (arXiv:1804.07573).

    Looks at columns 8..103 of the 112 x 112 crop; pixels are scaled as (x - 127.5) / 128.
    """

    # expansion, output channels, repeats, stride of the first
    STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))

    def __init__(self, dim: int = 128) -> None:
        super().__init__()
        self.dim = dim
        self.conv1 = ConvBlock(3, 64, 3, stride=2, padding=1)
        self.dw_conv1 = ConvBlock(64, 64, 3, padding=1, groups=64)
        blocks: list[nn.Module] = []
        channels = 64
        for expansion, outputs, repeats, stride in self.STAGES:
            for i in range(repeats):
                blocks.append(Bottleneck(channels, outputs, stride if i == 0 else 1, expansion))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = ConvBlock(128, 512, 1)
        self.linear7 = ConvBlock(512, 512, (7, 6), groups=512, linear=True)
        self.linear1 = ConvBlock(512, dim, 1, linear=True)

    def forward(self, images: Tensor) -> Tensor:
        x = (images[..., 8:104].float() - 127.5) / 128
        x = self.conv2(self.blocks(self.dw_conv1(self.conv1(x))))
        return self.linear1(self.linear7(x)).flatten(1).float()
