"""Embeddings on a map: before, after and oracle."""
