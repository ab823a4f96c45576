"""Unlearning runs in an experiment, where a run that diverges is a result like any other."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import nn

from cure_core.unlearning import UnlearningDivergedError, UnlearningResult

DIVERGENCE = ("diverged_after", "diverged")


def attempt(run: Callable[[], UnlearningResult]) -> tuple[nn.Module, dict[str, Any]]:
    """The student of a run, with its seconds and summary as columns for a table of results.

    If the run diverges or collapses: the last good student, no seconds, the reason in `diverged`
    and the number of epochs before it in `diverged_after`.
    """
    try:
        result = run()
    except UnlearningDivergedError as error:
        if error.student is None or error.history is None:  # it was not raised by `unlearn`
            raise
        reason = " ".join(str(error).split())
        columns = {"diverged_after": len(error.history), "diverged": reason}
        return error.student, {"seconds": np.nan, **columns}
    return result.student, {"seconds": round(result.seconds, 1), **result.summary}


def divergence(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns about divergence; empty for a run that did not diverge."""
    return {name: row[name] for name in DIVERGENCE if row.get(name) is not None}
