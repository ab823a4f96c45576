"""Executing a notebook by papermill, in a kernel whose start is tried again on a busy machine."""

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

START_SECONDS = 180  # for a kernel to answer; a loaded machine takes over a minute
START_TRIES = 3
LONGEST_FOLDER = 80  # characters; a socket's whole path may have 103
NOT_STARTED = ("Kernel died before replying", "Kernel didn't respond")  # jupyter_client's words


class KernelStartError(ValueError):
    """A notebook's kernel did not start; no cell ran."""


def execute(source: str, target: Any, parameters: dict[str, Any], **options: Any) -> None:
    """`papermill.execute_notebook` by a local kernel; `options` are papermill's.

    Raises KernelStartError after `START_TRIES` kernels that did not start, and papermill's error
    if a cell fails.
    """
    import papermill

    with local_sockets() as config:
        options |= {"start_timeout": START_SECONDS, "config": config}
        start(lambda: papermill.execute_notebook(source, target, parameters, **options))


def start(run: Callable[[], T]) -> T:
    """What `run` returns; called again if its kernel did not start, before any cell.

    Raises KernelStartError after `START_TRIES` of those, and any other error of `run` at once.
    """
    for tries_left in reversed(range(START_TRIES)):
        try:
            return run()
        except RuntimeError as error:
            if not str(error).startswith(NOT_STARTED):
                raise
            reason = error
        if tries_left:
            logging.getLogger(__name__).warning("%s; starting another kernel", reason)
    raise KernelStartError(
        f"{START_TRIES} kernels did not start ({reason}); is the machine overloaded, or ipykernel "
        "damaged? `python -m ipykernel --version` should print a number"
    ) from reason


@contextmanager
def local_sockets() -> Iterator[Any]:
    """A configuration with which a kernel communicates through files that only its user can open.

    By default it listens on TCP ports, where others on the machine can listen in and two kernels
    can take the same; ipykernel warns of that. TCP remains on Windows, which has no such sockets,
    and where the path would be too long for one.
    """
    from traitlets.config import Config

    with tempfile.TemporaryDirectory(prefix="cure-") as folder:
        sockets = {"transport": "ipc", "ip": os.path.join(folder, "kernel")}
        usable = os.name != "nt" and len(folder) <= LONGEST_FOLDER
        yield Config({"KernelManager": sockets} if usable else {})
