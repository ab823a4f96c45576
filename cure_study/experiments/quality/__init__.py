"""Which images are of low quality, and whether forgetting them helps."""
