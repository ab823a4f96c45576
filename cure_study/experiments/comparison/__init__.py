"""The comparison: every method tuned by one budget, then judged on other requests and seeds."""

from cure_study.experiments.comparison.plan import Plan, read_plan
from cure_study.experiments.comparison.runs import compare

__all__ = ["Plan", "compare", "read_plan"]
