"""Interactive views for notebooks."""
