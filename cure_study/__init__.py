"""The study of CURE around `cure_core`: data, evaluation, experiments, figures, the command."""
