"""Training loops: ArcFace for teacher and oracle, checkpoints, batches."""
