"""Any network with its preprocessing, as an encoder."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Values = float | Sequence[float]  # one number, or one a channel


class Adapted(nn.Module):
    """Any network with its preprocessing, called like the built-in encoders.

    The network gets (x - mean) / std of images of `size` (height, width; None: 112 x 112), in BGR
    order if `bgr`; `mean` and `std` are one number, or one a channel in RGB order. Images of
    another size are resized. `output` says which part of what the network returns is the embedding:
    an index, a key, or a function; None takes it as it is, (B, D) or (B, D, 1, 1).
    """

    resizes = True

    def __init__(
        self,
        network: nn.Module,
        mean: Values = 127.5,
        std: Values = 127.5,
        size: tuple[int, int] | None = None,
        bgr: bool = False,
        output: int | str | Callable[[Any], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.mean, self.std, self.size, self.bgr = network, mean, std, size, bgr
        self.output = output

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images that the network takes."""
        return self.size or (112, 112)

    def forward(self, images: Tensor) -> Tensor:
        x = (images.float() - _channels(self.mean, images)) / _channels(self.std, images)
        if self.size is not None:
            x = F.interpolate(x, self.size, mode="bilinear", antialias=True, align_corners=False)
        returned = self.network(x.flip(1) if self.bgr else x)
        if callable(self.output):
            returned = self.output(returned)
        elif self.output is not None:
            returned = returned[self.output]
        if returned.shape[2:] == (1, 1):
            returned = returned.flatten(1)
        return returned.float()


def _channels(values: Values, images: Tensor) -> float | Tensor:
    """The values for a batch (B, 3, H, W)."""
    if isinstance(values, int | float):
        return values
    return images.new_tensor(values, dtype=torch.float32).view(1, -1, 1, 1)
