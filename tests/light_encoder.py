"""An encoder for the tests of the notebooks: a fifth of the time of `small`."""

from torch import nn

from cure_core.encoders.small import SmallEncoder


def build() -> nn.Module:
    return SmallEncoder(dim=32, widths=(8, 12, 16))
