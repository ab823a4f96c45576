"""Any network with its preprocessing, as an encoder."""

import torch.nn.functional as F
from torch import Tensor, nn


class Adapted(nn.Module):
    """Wraps any network with its preprocessing, so that it is called like the built-in encoders.

    The network gets (x - mean) / std of the 112 x 112 image, resized to `size` (height, width) if
    that is set, in BGR order if `bgr`.
    """

    def __init__(
        self,
        network: nn.Module,
        mean: float = 127.5,
        std: float = 127.5,
        size: tuple[int, int] | None = None,
        bgr: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.mean, self.std, self.size, self.bgr = network, mean, std, size, bgr

    def forward(self, images: Tensor) -> Tensor:
        x = (images.float() - self.mean) / self.std
        if self.size is not None:
            x = F.interpolate(x, self.size, mode="bilinear", antialias=True, align_corners=False)
        return self.network(x.flip(1) if self.bgr else x).float()
