"""CURE (arXiv:2509.19562): removing faces from a trained encoder without identity labels.

from cure_core import CureConfig, unlearn

result = unlearn(teacher, forget, retain, CureConfig(epochs=10))
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cure_core.config import CureConfig
    from cure_core.unlearning import UnlearningDivergedError, UnlearningResult, unlearn

__version__ = "0.1.0"
__all__ = ["CureConfig", "UnlearningDivergedError", "UnlearningResult", "unlearn"]


def __getattr__(name: str) -> Any:
    """Import torch only when it is needed: `cure --help` should not take seconds."""
    if name in __all__:
        from cure_core import unlearning

        return getattr(unlearning, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
