"""What the command `cure` prints of an error: one line with the remedy, no traceback."""

import argparse
import errno
import os
import shutil
import sys
from pathlib import Path

from cure_study.paths import cache_root

EXPECTED = (ValueError, OSError, MemoryError, ImportError, FloatingPointError)
ACCESS = "allow access to it, or name another place (CURE_CACHE for the cache)"
FILE_IN_THE_WAY = "a file is where a folder should be: remove it, or name another place"
SPACE = "free some space, or name another disk (CURE_CACHE for the cache)"
REMEDIES = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), ACCESS),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR), FILE_IN_THE_WAY),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), SPACE),
    errno.EISDIR: "name a file, not a folder",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
}
OUTPUTS = ("runs", "out", "into", "rows", "picture")  # options that name where a command writes
EXTRAS = {  # optional libraries, and the extra that installs them
    **dict.fromkeys(("dask", "distributed", "jinja2", "pyarrow"), "batch"),
    "accelerate": "gpu",
    "nbgrader": "course",
}
GOES_ON = (
    "(the notebook up to that cell is kept, and what was trained is cached: "
    "the same command goes on)"
)


def report_error(error: BaseException, arguments: argparse.Namespace) -> int:
    """Print an error of a command to stderr; returns the exit status.

    Raises the error again if it is a fault of the program, whose traceback is needed.
    """
    if isinstance(error, KeyboardInterrupt):
        print("\ncure: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    if isinstance(error, BrokenPipeError):  # `cure ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    print(f"cure: {message(error, arguments)}", file=sys.stderr)
    return 1


def message(error: BaseException, arguments: argparse.Namespace) -> str:
    """An expected error in a line; any other is raised again."""
    if isinstance(error, OSError) and error.errno is not None:
        return _os_message(error, arguments)
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        return f"{error}; pip install 'cure-core[{EXTRAS[error.name]}]'"
    if isinstance(error, EXPECTED):
        return str(error) or type(error).__name__
    match type(error).__name__:  # by name: importing torch or papermill takes seconds
        case "ChildFailedError":  # torch quotes the process's traceback; its last line says why
            lines = [line.strip() for line in str(error).splitlines() if line.strip(" =-")]
            return f"a process failed: {lines[-1] if lines else 'ChildFailedError'}"
        case "PapermillExecutionError":
            cell, name, value = (getattr(error, n) for n in ("exec_count", "ename", "evalue"))
            return f"cell {cell} failed: {name}: {value} {GOES_ON}"
        case "DeadKernelError":
            return f"the notebook's kernel died, most often for lack of memory {GOES_ON}"
        case "NoSuchKernel":
            return f"{error}; choose the kernel Python 3 (ipykernel) in the notebook and save it"
    raise error


def _os_message(error: OSError, arguments: argparse.Namespace) -> str:
    """What the system refused, where, and what to do."""
    where = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    if REMEDIES.get(error.errno or 0) == SPACE and not where:  # as a file's write raises it
        outputs = [getattr(arguments, name, None) for name in OUTPUTS]
        where = ", ".join(_free_space(place) for place in (cache_root(), *filter(None, outputs)))
    parts = [where and f"{where}: ", error.strerror or str(error)]
    return "; ".join(filter(None, ["".join(parts), REMEDIES.get(error.errno or 0)]))


def _free_space(place: Path) -> str:
    """A path with the space that is free there."""
    existing = next(p for p in (place.absolute(), *place.absolute().parents) if p.exists())
    return f"{place} ({shutil.disk_usage(existing).free / 1e6:,.0f} MB free)"
