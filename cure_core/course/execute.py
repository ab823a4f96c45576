"""The process that executes one submission: within limits, in the folder it was started in.

Usage: python -m cure_core.course.execute IN.ipynb OUT.ipynb CELL_SECONDS MEMORY_BYTES
"""

import sys
from pathlib import Path
from typing import Any

FILE_BYTES = 10**9  # the largest file a submission may write


def main() -> None:
    """Execute IN within the limits, and write it with its outputs to OUT when it is through."""
    source, target, cell_seconds, memory = sys.argv[1:]
    limit(int(memory))
    # nbformat's imports compile a grammar of web addresses that no notebook needs: 1.4 s each time
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(source, as_version=4)
    NotebookClient(
        notebook,
        kernel_name="python3",
        resources={"metadata": {"path": str(Path.cwd())}},
        timeout=int(cell_seconds),
        interrupt_on_timeout=True,
        error_on_timeout={
            "ename": "CellTimeoutError",
            "evalue": f"not done after {cell_seconds} seconds",
            "traceback": [f"CellTimeoutError: not done after {cell_seconds} seconds"],
        },
        allow_errors=True,
        shutdown_kernel="immediate",
        on_cell_executed=tell_error,
    ).execute()
    nbformat.write(notebook, target)


def tell_error(cell: Any, execute_reply: Any, **_: Any) -> None:
    """Put a cell's error among its outputs where it is missing: a time-out's, or an exit's."""
    reply = execute_reply["content"]
    told = {output.get("ename") for output in cell.outputs if output.output_type == "error"}
    if reply["status"] == "error" and reply["ename"] not in told:
        from nbformat.v4 import new_output

        known = {name: reply[name] for name in ("ename", "evalue", "traceback")}
        cell.outputs.append(new_output("error", **known))


def limit(memory: int) -> None:
    """Bound what this process and each it starts may take; where the system knows no limits, not.

    Memory is what a process writes to (RLIMIT_DATA), for torch maps many gigabytes it never reads.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind, most in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    main()
