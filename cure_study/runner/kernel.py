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
    where a cell fails.
    """
    import papermill

    with local_sockets() as config:
        start(
            lambda: papermill.execute_notebook(
                source, target, parameters, start_timeout=START_SECONDS, config=config, **options
            )
        )


def start(run: Callable[[], T]) -> T:
    """What `run` returns; called again where its kernel did not start, which no cell has seen.

    Raises KernelStartError after `START_TRIES` of those, and at once whatever else `run` raises.
    """
    for left in reversed(range(START_TRIES)):
        try:
            return run()
        except RuntimeError as error:
            if not str(error).startswith(NOT_STARTED):
                raise
            if not left:
                raise KernelStartError(
                    f"{START_TRIES} kernels did not start ({error}); is the machine overloaded, or "
                    "ipykernel damaged? `python -m ipykernel --version` should print a number"
                ) from error
            logging.getLogger(__name__).warning("%s; starting another kernel", error)
    raise AssertionError("unreachable: the last try returns or raises")


@contextmanager
def local_sockets() -> Iterator[Any]:
    """A configuration by which a kernel is reached through files that its user alone can open.

    By default it listens on TCP ports, where others on the machine can listen in and two kernels
    can take each other's; ipykernel warns of that. Windows has no such sockets, and their paths
    have a limit; there TCP remains.
    """
    from traitlets.config import Config

    with tempfile.TemporaryDirectory(prefix="cure-") as folder:
        if os.name == "nt" or len(folder) > LONGEST_FOLDER:
            yield Config()
        else:
            place = {"transport": "ipc", "ip": os.path.join(folder, "kernel")}
            yield Config({"KernelManager": place})
