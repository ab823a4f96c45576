"""CURE: unlearning faces from a trained encoder without identity labels."""

__version__ = "0.1.0"
