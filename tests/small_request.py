"""A request that takes seconds: how its encoder is trained, and how that forgets."""

from cure_core.training.arcface import Recipe

RECIPE = Recipe(epochs=30, batch_size=24, learning_rate=0.05, margin=0.2)
UNLEARNING = {"epochs": 3, "batch_size": [16, 16]}
