"""How much disk the rest of a study needs, estimated by its done runs."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

from cure_study.paths import cache_root
from cure_study.runner.batch.state import ENDED, State
from cure_study.runner.runs import Run


def disk_needed(states: Mapping[Run, State], runs_folder: Path) -> str:
    """A line: what the rest needs in `runs_folder`, and what is free there and in the cache.

    By the mean of each notebook's done runs. What the cache will need is not known beforehand.
    """
    sizes: dict[str, list[int]] = {}
    for run, known in states.items():
        if known.what == "done":
            files = (runs_folder / run.name).rglob("*")
            size = sum(path.stat().st_size for path in files if path.is_file())
            sizes.setdefault(run.notebook, []).append(size)
    rest = [run for run, known in states.items() if known.what not in ENDED]
    free, free_cache = _free(runs_folder), _free(cache_root())
    text = f"{free / 1e9:.1f} GB free in {runs_folder}, {free_cache / 1e9:.1f} GB in the cache"
    if not sizes.keys() >= {run.notebook for run in rest}:
        return f"disk needed: unknown until a run of each notebook is done; {text}"
    needed = sum(mean(sizes[run.notebook]) for run in rest)
    warning = "; NOT ENOUGH" if needed > free else ""
    return f"disk needed: about {needed / 1e6:.0f} MB for {len(rest)} runs{warning}; {text}"


def _free(folder: Path) -> int:
    """Free bytes where a folder is, or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
