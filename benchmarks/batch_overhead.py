"""What a batch costs beside `xargs -P2 papermill` over the same list, and whether its memory grows.

Both sides are measured in turn, block by block, since other work on the machine shifts everything.
Seconds of the clock count what a user waits; seconds of the processors are steadier where the
machine is shared.

    .venv/bin/python benchmarks/batch_overhead.py --runs 100 --blocks 2
    .venv/bin/python benchmarks/batch_overhead.py --runs 8 --notebook 02_unlearning --profile tiny
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import jupytext
import nbformat
import psutil
import yaml

from cure_study.runner import runs

PAYLOAD = """
# %% tags=["parameters"]
seed = 0
out = "."

# %%
total = 0
for number in range(15_000_000):
    total += number ^ seed

# %%
from pathlib import Path

Path(out, "results.csv").write_text(f"metric,seed,value\\ntotal,{seed},{total}\\n")
"""
BIN = Path(sys.executable).parent


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--notebook", default="", help="default: a second or so of arithmetic")
    parser.add_argument("--profile", default="")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        spent = {"xargs": [0.0, 0.0], "batch": [0.0, 0.0]}
        for block in range(arguments.blocks):
            seeds = range(block, arguments.runs, arguments.blocks)
            order = ("xargs", "batch") if block % 2 == 0 else ("batch", "xargs")
            for side in order:
                place = Path(folder) / f"{side}-{block}"
                place.mkdir()
                seconds = _measured(side, place, arguments, list(seeds))
                spent[side] = [a + b for a, b in zip(spent[side], seconds, strict=True)]
            clock, processors = (spent["batch"][i] / spent["xargs"][i] for i in (0, 1))
            print(
                f"{len(seeds)} runs a side: xargs {spent['xargs'][0]:.0f} s "
                f"({spent['xargs'][1]:.0f} s of processors), batch {spent['batch'][0]:.0f} s "
                f"({spent['batch'][1]:.0f} s); so far batch/xargs {clock:.3f} ({processors:.3f})",
                flush=True,
            )


def _measured(
    side: str, place: Path, arguments: argparse.Namespace, seeds: list[int]
) -> tuple[float, float]:
    """Seconds of the clock and of the processors for one side over these seeds."""
    source = runs.find_notebook(arguments.notebook) if arguments.notebook else _payload(place)
    environment = os.environ | {"CURE_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1"}
    parameters = runs.read_profile(source.stem, arguments.profile) if arguments.profile else {}
    name = "seeds" if "seeds" in runs.declared(source) else "seed"
    if side == "xargs":
        lines = []
        for seed in seeds:
            target = place / f"{seed}"
            target.mkdir()
            given = target / "given.yaml"
            value = [seed] if name == "seeds" else seed
            given.write_text(yaml.safe_dump(parameters | {name: value, "out": str(target)}))
            lines.append(f"{source} {target / source.name} -f {given} --cwd {target}")
        text = "\n".join(lines)
        command = [
            "xargs",
            f"-P{arguments.jobs}",
            "-L1",
            str(BIN / "papermill"),
            "--no-progress-bar",
        ]
    else:
        study = {"notebooks": [str(source)], "profile": arguments.profile, "seeds": seeds}
        (place / "study.yaml").write_text(yaml.safe_dump(study))
        text = ""
        command = [str(BIN / "cure"), "batch", "run", "study.yaml", "--cores", str(arguments.jobs)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=place,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    if side == "batch":
        threading.Thread(target=_watch, args=(process.pid,)).start()
    process.communicate(text)
    clock = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(f"{side} ended with status {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _watch(pid: int) -> None:
    """Print the driver's memory a tenth into its life and at its end, and the most in between."""
    driver, taken = psutil.Process(pid), []
    while True:
        try:
            if driver.status() == psutil.STATUS_ZOMBIE:
                break
            taken.append(driver.memory_info().rss / 1e6)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.5)
    early = taken[len(taken) // 10]
    print(
        f"driver: {early:.0f} MB early, {taken[-2]:.0f} MB at the end, at most {max(taken):.0f} MB"
    )


def _payload(place: Path) -> Path:
    notebook = jupytext.reads(PAYLOAD.strip(), fmt="py:percent")
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    path = place / "payload.ipynb"
    nbformat.write(notebook, path)
    return path


if __name__ == "__main__":
    main()
