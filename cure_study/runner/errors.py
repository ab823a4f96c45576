"""What the command `cure` prints of an error: one line with the remedy, no traceback."""

import argparse
import errno
import os
import shutil
import sys
from pathlib import Path

from cure_study.paths import cache_root

EXPECTED = (ValueError, OSError, MemoryError, ImportError, FloatingPointError)
REMEDIES = {
    errno.EACCES: "allow access to it, or name another place (CURE_CACHE for the cache)",
    errno.EEXIST: "a file is where a folder should be: remove it, or name another place",
    errno.ENOTDIR: "a file is where a folder should be: remove it, or name another place",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOSPC: "free some space, or name another disk (CURE_CACHE for the cache)",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
}
REMEDIES |= {errno.EPERM: REMEDIES[errno.EACCES], errno.EROFS: REMEDIES[errno.EACCES]}
REMEDIES |= {errno.EDQUOT: REMEDIES[errno.ENOSPC]}
WRITTEN = ("runs", "out", "into", "rows", "picture")  # options that name where a command writes


def report_error(error: BaseException, asked: argparse.Namespace) -> int:
    """Print an error of a command to stderr; returns the exit status.

    Raises the error again where it is a fault of the program, whose traceback is needed.
    """
    if isinstance(error, KeyboardInterrupt):
        print("\ncure: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    if isinstance(error, BrokenPipeError):  # `cure ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    print(f"cure: {message(error, asked)}", file=sys.stderr)
    return 1


def message(error: BaseException, asked: argparse.Namespace) -> str:
    """An expected error in a line; any other is raised again."""
    if isinstance(error, OSError) and error.errno is not None:
        return _os_message(error, asked)
    if isinstance(error, EXPECTED):
        return str(error) or type(error).__name__
    if type(error).__name__ == "ChildFailedError":  # torch's, of one of several processes
        return f"a process failed: {_last_line(error)}"
    return _notebook_message(error)


def _last_line(error: BaseException) -> str:
    """The error itself, of a torch error that quotes the traceback of a process."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" =-")]
    return lines[-1] if lines else type(error).__name__


def _os_message(error: OSError, asked: argparse.Namespace) -> str:
    """What the system refused, where, and what to do."""
    named = [str(name) for name in (error.filename, error.filename2) if name is not None]
    where = " -> ".join(named)
    if error.errno in (errno.ENOSPC, errno.EDQUOT) and not named:  # as a file's write raises it
        written = [getattr(asked, name, None) for name in WRITTEN]
        where = ", ".join(_free(place) for place in (cache_root(), *filter(None, written)))
    text = error.strerror or str(error)
    remedy = REMEDIES.get(error.errno or 0)
    return "; ".join(filter(None, [f"{where}: {text}" if where else text, remedy]))


def _free(place: Path) -> str:
    """A path with the space that is free there."""
    there = next(p for p in (place.absolute(), *place.absolute().parents) if p.exists())
    return f"{place} ({shutil.disk_usage(there).free / 1e6:,.0f} MB free)"


def _notebook_message(error: BaseException) -> str:
    """An error of a notebook's run; any other is raised again."""
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    if isinstance(error, PapermillExecutionError):
        return (
            f"cell {error.exec_count} failed: {error.ename}: {error.evalue} (the notebook up to "
            "that cell is kept, and what was trained is cached: the same command goes on)"
        )
    if isinstance(error, DeadKernelError):
        return (
            "the notebook's kernel died, most often for lack of memory (the notebook up to that "
            "cell is kept, and what was trained is cached: the same command goes on)"
        )
    if isinstance(error, NoSuchKernel):
        return f"{error}; choose the kernel Python 3 (ipykernel) in the notebook and save it"
    raise error
