"""Two encoders that are not ours, adapted: cure forget ... --encoder own_encoders:resnet."""

import torch
import torchvision
from torch import Tensor, nn

from cure_core.encoders import Adapted


def resnet() -> Adapted:
    """torchvision's ResNet-18 with a head of its own, for 112 x 112 images.

    ImageNet's scaling: pixels from 0 to 1, less the mean of each channel, by its deviation.
    """
    network = torchvision.models.resnet18()
    network.fc = nn.Linear(network.fc.in_features, 128)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return Adapted(network, [255 * m for m in mean], [255 * s for s in std], size=(112, 112))


class Inception(nn.Module):
    """A network in the style of InceptionResnet: 160 x 160 images, a dict with the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU())
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(16, 16, size, 4, size // 2), nn.BatchNorm2d(16), nn.ReLU())
            for size in (1, 3, 5)
        )
        self.last = nn.Linear(48, 64)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self.stem(images)
        x = torch.cat([branch(x) for branch in self.branches], dim=1)
        return {"embedding": self.last(x.mean((2, 3)))}


def inception() -> Adapted:
    """Its preprocessing: (x - 127.5) / 128 of a 160 x 160 image."""
    return Adapted(Inception(), mean=127.5, std=128, size=(160, 160), output="embedding")
