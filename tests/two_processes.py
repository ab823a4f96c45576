"""Two real processes that do the same thing at the same moment."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BARRIER = "import sys; print('ready', flush=True); sys.stdin.readline()"


def two_processes(setup: str, code: str) -> list[tuple[int, str, str]]:
    """Run `setup`, wait until both processes have, then run `code` in both.

    Returns (exit status, stdout of `code`, stderr) of each; one thread a process.
    """
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    script = "\n".join([setup, BARRIER, code])
    both = [
        subprocess.Popen([sys.executable, "-c", script], env=environment, text=True, **pipes)
        for _ in range(2)
    ]
    try:
        for process in both:
            assert process.stdout.readline() == "ready\n", process.communicate()[1]
        for process in both:
            process.stdin.write("\n")
            process.stdin.flush()
        outputs = [process.communicate(timeout=120) for process in both]
    finally:
        for process in both:
            process.kill()
    return [(p.returncode, *output) for p, output in zip(both, outputs, strict=True)]
