"""The process that executes one submission, within limits, in the folder it was started in.

Usage: python -m cure_study.course.execute IN.ipynb OUT.ipynb CELL_SECONDS MEMORY_BYTES
"""

import sys
from pathlib import Path
from typing import Any

FILE_BYTES = 10**9  # the largest file a submission may write
NO_KERNEL = 75  # exit status (EX_TEMPFAIL): the kernel did not start, so no cell ran


def main() -> None:
    """Execute IN within the limits and write it with its outputs to OUT."""
    source, target, cell_seconds, memory = sys.argv[1:]
    limit_resources(int(memory))
    # nbformat's imports compile a grammar of web addresses that no notebook needs: 1.4 s each time
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(source, as_version=4)
    message = f"not done after {cell_seconds} seconds"
    timeout = {"ename": "CellTimeoutError", "evalue": message, "traceback": [message]}
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        resources={"metadata": {"path": str(Path.cwd())}},
        timeout=int(cell_seconds),
        interrupt_on_timeout=True,
        error_on_timeout=timeout,
        allow_errors=True,
        shutdown_kernel="immediate",
        on_cell_executed=add_error,
    )
    started: list[bool] = []
    client.on_notebook_start = lambda **_: started.append(True)
    try:
        client.execute()
    except Exception as error:
        if started:
            raise
        raise SystemExit(NO_KERNEL) from error
    nbformat.write(notebook, target)


def add_error(cell: Any, execute_reply: Any, **_: Any) -> None:
    """Add a cell's error to its outputs where it is missing: after a time-out or an exit.

    As nbgrader's `Execute` does, whose import would take as long as most submissions.
    """
    reply = execute_reply["content"]
    shown = {output.get("ename") for output in cell.outputs if output.output_type == "error"}
    if reply["status"] == "error" and reply["ename"] not in shown:
        from nbformat.v4 import new_output

        error = {name: reply[name] for name in ("ename", "evalue", "traceback")}
        cell.outputs.append(new_output("error", **error))


def limit_resources(memory: int) -> None:
    """Limit what this process and each of its children may use, where the system has limits.

    Memory is what a process writes to (RLIMIT_DATA), as torch maps many gigabytes it never reads.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {"DATA": memory, "FSIZE": FILE_BYTES, "CORE": 0}
    for name, most in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    main()
