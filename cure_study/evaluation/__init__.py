"""Judging a model: protocol, measures, reports and attacks."""
