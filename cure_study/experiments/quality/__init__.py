"""Which images are of low quality, and whether forgetting them helps."""

from cure_study.experiments.quality.scorers import score

__all__ = ["score"]
