"""Face encoders: uint8 images (B, 3, H, W) in, raw embeddings (B, D) float32 out."""

from cure_core.encoders.adapter import Adapted
from cure_core.encoders.embedding import embed
from cure_core.encoders.mobilefacenet import MobileFaceNet
from cure_core.encoders.registry import REGISTRY, build
from cure_core.encoders.small import SmallEncoder
from cure_core.encoders.weights import read_weights

__all__ = [
    "REGISTRY",
    "Adapted",
    "MobileFaceNet",
    "SmallEncoder",
    "build",
    "embed",
    "read_weights",
]
