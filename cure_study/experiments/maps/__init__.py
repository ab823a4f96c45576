"""Maps of the embedding space before and after unlearning."""
