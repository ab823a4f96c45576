"""What the pseudo-labels capture, and what the number of clusters does."""
