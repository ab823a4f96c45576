"""Run the notebooks and lessons, and write them with their outputs to notebooks/executed/.

Usage: python docs/executed.py [--profile quick] [--out FOLDER] [NAME ...]. A notebook of the study
that was run before by the same code is not run again. A lesson shows the student's cells with the
outputs of the solution. Every cell's source is that of today's notebook; `tests/test_executed.py`
checks that.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_output

from cure_core.files import atomic_path
from cure_study.course.release import released
from cure_study.paths import cache_root
from cure_study.runner import kernel, run_folder, runs

ROOT = Path(__file__).parents[1]
LESSONS = ROOT / "notebooks" / "course" / "source"
EXECUTED = ROOT / "notebooks" / "executed"
# Rows that took hours are read, not made again.
PARAMETERS = {"03_quality_aware_forgetting": {"rows": str(ROOT / "figures" / "quality_rows.csv")}}
MEMORY_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these, as in 02_unlearning")
    parser.add_argument("--profile", default="quick", help="the profile of the study's notebooks")
    parser.add_argument("--out", type=Path, default=EXECUTED, help="where they are written")
    options = parser.parse_args()
    for path in sources():
        if options.names and path.stem not in options.names:
            continue
        print(f"{path.stem}", flush=True)
        lesson = LESSONS in path.parents
        notebook = execute_lesson(path) if lesson else execute_study(path, options.profile)
        target = options.out / "course" / path.name if lesson else options.out / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(target) as temporary:
            nbformat.write(notebook, temporary)
    return 0


def sources() -> list[Path]:
    """The notebooks of the study and the lessons."""
    return [*sorted((ROOT / "notebooks").glob("0*.ipynb")), *sorted(LESSONS.glob("*/*.ipynb"))]


def page(source: Path) -> NotebookNode:
    """The cells of a notebook that are to be shown: of a lesson, those that a student gets."""
    notebook = nbformat.read(source, as_version=4)
    return released(notebook) if LESSONS in source.parents else notebook


def execute_study(source: Path, profile: str) -> NotebookNode:
    """A notebook of the study, executed in a profile."""
    given = runs.profile_parameters(source, profile, PARAMETERS.get(source.stem))
    run = runs.plan_run(source, profile, given)
    executed = run_folder.execute(run, runs.RUNS, again=False, live=True) / source.name
    return with_outputs(page(source), nbformat.read(executed, as_version=4))


def execute_lesson(source: Path) -> NotebookNode:
    """A lesson's cells for students, with the outputs of the solution."""
    from nbclient import NotebookClient

    solved = nbformat.read(source, as_version=4)
    place = {"metadata": {"path": str(cache_root())}}
    with kernel.local_sockets() as config:
        kernel.start(NotebookClient(solved, resources=place, config=config).execute)
    return with_outputs(page(source), solved)


def with_outputs(notebook: NotebookNode, executed: NotebookNode) -> NotebookNode:
    """A notebook with the outputs of its executed copy, which may have injected parameters."""
    cells = [cell for cell in executed.cells if "injected-parameters" not in _tags(cell)]
    count = 0
    for cell, done in zip(notebook.cells, cells, strict=True):
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            shown = [_static(output, count) for output in done.outputs]
            cell.outputs = [output for output in shown if output is not None]
    notebook.metadata.pop("widgets", None)
    return notebook


def _tags(cell: NotebookNode) -> Any:
    return cell.metadata.get("tags", ())


def _static(output: NotebookNode, count: int) -> NotebookNode | None:
    """An output as a page can show it; None for a progress bar or a warning."""
    if output.get("name") == "stderr":
        return None
    data = output.get("data", {})
    if "application/vnd.jupyter.widget-view+json" in data:
        if "%|" in data.get("text/plain", ""):
            return None
        return new_output(
            "display_data", data={"text/plain": "(a widget: open the notebook to use it)"}
        )
    if "execution_count" in output:
        output.execution_count = count
    for holder, name in [(output, "text"), *((data, kind) for kind in data)]:
        if isinstance(holder.get(name), str) and not name.startswith("image/png"):
            text = holder[name].replace(f"{ROOT}/", "").replace(str(cache_root()), "CACHE")
            holder[name] = MEMORY_ADDRESS.sub("", text)
    return output


if __name__ == "__main__":
    sys.exit(main())
