"""The study's questions, one folder each."""
