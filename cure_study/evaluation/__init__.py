"""Evaluating a model: protocol, measures and reports."""
