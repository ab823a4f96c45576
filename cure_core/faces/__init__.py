"""Sets of face images: drawn, or read from folders and packs."""

from cure_core.faces.faceset import FaceSet
from cure_core.faces.pack import read_recordio
from cure_core.faces.pairs_pack import read_pairs

__all__ = ["FaceSet", "read_pairs", "read_recordio"]
