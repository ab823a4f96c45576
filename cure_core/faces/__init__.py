"""Sets of face images: drawn, or read from folders."""

from cure_core.faces.faceset import FaceSet

__all__ = ["FaceSet"]
