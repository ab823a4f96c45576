"""Sets of face images: synthetic, or read from folders and packs."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cure_study.data.faceset import FaceSet
    from cure_study.data.manifests import load
    from cure_study.data.pack import read_recordio
    from cure_study.data.pairs_pack import read_pairs

__all__ = ["FaceSet", "load", "read_pairs", "read_recordio"]
_MODULES = {
    "FaceSet": "faceset",
    "load": "manifests",
    "read_pairs": "pairs_pack",
    "read_recordio": "pack",
}


def __getattr__(name: str) -> Any:
    """Import torch only when it is needed: `cure --help` reads no data."""
    if name in _MODULES:
        return getattr(import_module(f"cure_study.data.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
