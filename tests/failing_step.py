"""A run that fails in one of its steps."""

from contextlib import contextmanager

import pytest

from cure_core import unlearning


@contextmanager
def failing_step(number, error=KeyboardInterrupt):
    """Inside, `unlearn` raises `error` before its step `number`, from 1; yields a list of steps."""
    step, steps = unlearning.optimiser_step, []

    def fails(*arguments, **options):
        steps.append(len(steps) + 1)
        if len(steps) == number:
            raise error
        return step(*arguments, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(unlearning, "optimiser_step", fails)
        yield steps
