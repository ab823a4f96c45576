"""Exporting a student as files."""
