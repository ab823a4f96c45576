"""A quick payload for the tests of batches: a notebook, and a papermill that needs no kernel.

A run of the real papermill takes seconds to start. What is tested with this one (processes, locks,
folders, Dask) is the same; what papermill does is tested in `test_cli.py`, with the real one.
"""

import json
import os
import time
from pathlib import Path

import jupytext
import nbformat
import psutil

from cure_study.runner import runs

NOTEBOOK = """
# %% tags=["parameters"]
seed = 0
scale = 1.0
marks = "."
out = "."

# %%
import os, time
from pathlib import Path

(Path(marks) / f"started-{scale}-{seed}-{os.getpid()}").touch()
while (Path(marks) / f"wait-{seed}").exists():
    time.sleep(0.01)
if (Path(marks) / f"grab-{seed}").exists():
    taken = bytearray(400_000_000)
    time.sleep(60)
assert not (Path(marks) / f"fail-{seed}").exists(), "it should fail"
Path(out, "results.csv").write_text(f"metric,seed,value\\nues,{seed},{scale * seed}\\n")
"""

PAPERMILL = """
import json, os

def execute_notebook(source, target, parameters, cwd, **_):
    text = open(source).read()
    open(target, "w").write(text)
    os.chdir(cwd)
    space = {}
    for cell in json.loads(text)["cells"]:
        exec("".join(cell["source"]), space)
        if "parameters" in cell["metadata"].get("tags", []):
            space.update(parameters)
"""


def lay_out(folder, monkeypatch):
    """Put notebook, papermill and an empty folder of marks below `folder`; returns the marks."""
    notebook = jupytext.reads(NOTEBOOK.strip(), fmt="py:percent")
    nbformat.write(notebook, folder / "payload.ipynb")
    (folder / "stand_in").mkdir()
    (folder / "stand_in" / "papermill.py").write_text(PAPERMILL, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder / "stand_in"), str(runs.ROOT)]))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(runs, "RUNS", Path("runs"))
    marks = folder / "marks"
    marks.mkdir()
    return marks


def write_study(folder, **fields):
    """A study of the payload: seeds 1 to 4 by default."""
    study = {"notebooks": ["payload.ipynb"], "seeds": [1, 2, 3, 4], "memory": "200 MB"}
    study |= {"parameters": {"marks": str(folder / "marks")}} | fields
    path = folder / "study.yaml"
    path.write_text(json.dumps(study), encoding="utf-8")  # JSON is YAML
    return path


def wait_for(condition, seconds=60.0):
    """Wait until `condition()` is true, and return it."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
    return found


def started(marks, seed="*"):
    """The pids of all processes that began a run."""
    return [int(path.name.rsplit("-", 1)[1]) for path in marks.glob(f"started-*-{seed}-*")]


def gone(pid):
    """Whether a process has ended (one nobody has waited for yet has)."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def left_hidden(runs):
    """The half-made folders in a folder of runs."""
    return [path.name for path in runs.glob(".*") if path.name != ".locks"]
