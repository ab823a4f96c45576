"""Face encoders: uint8 images (B, 3, 112, 112) in, raw embeddings (B, D) out."""

from cure_core.encoders.registry import (
    REGISTRY,
    Adapted,
    MobileFaceNet,
    SmallEncoder,
    build,
    read_weights,
)

__all__ = ["REGISTRY", "Adapted", "MobileFaceNet", "SmallEncoder", "build", "read_weights"]
