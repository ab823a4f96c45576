"""Sets of face images: synthetic, or read from folders and packs."""

from cure_study.data.faceset import FaceSet
from cure_study.data.pack import read_recordio
from cure_study.data.pairs_pack import read_pairs

__all__ = ["FaceSet", "read_pairs", "read_recordio"]
