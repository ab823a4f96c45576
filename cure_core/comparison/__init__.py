"""The comparison: every method tuned by one budget, then judged on other requests and seeds."""

from cure_core.comparison.plan import Plan, read_plan
from cure_core.comparison.runs import compare

__all__ = ["Plan", "compare", "read_plan"]
