"""Runs of an experiment in which one that diverges is a result, not the end of the night."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import nn

from cure_core.unlearning import UnlearningDivergedError, UnlearningResult

DIVERGENCE = ("diverged_after", "diverged")


def attempt(run: Callable[[], UnlearningResult]) -> tuple[nn.Module, dict[str, Any]]:
    """The student of a run, with its seconds and facts for a row of results.

    Where the run diverges or collapses: the last good student, no seconds, and in `diverged` the
    reason, in `diverged_after` the epochs before.
    """
    try:
        result = run()
    except UnlearningDivergedError as error:
        if error.student is None or error.history is None:  # it diverged outside of `unlearn`
            raise
        reason = " ".join(str(error).split())
        facts = {"diverged_after": len(error.history), "diverged": reason}
        return error.student, {"seconds": np.nan, **facts}
    return result.student, {"seconds": round(result.seconds, 1), **result.summary}


def divergence(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says of a run that diverged; nothing of one that did not."""
    return {name: row[name] for name in DIVERGENCE if row.get(name) is not None}
