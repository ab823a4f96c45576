"""Reading what a student handed in, whatever its state, and restoring the lesson's cells in it.

nbgrader stops at a notebook it cannot parse, and reports every hidden test as the student's change.
`Submission` and `Restore`, set in `nbgrader_config.py`, read what can be read. What cannot be
graded is refused with a reason: no points, a page that gives the reason, "failed" in the grades.
"""

import json
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell
from nbgrader.api import Gradebook
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import is_grade, is_locked, is_task
from sqlalchemy.exc import OperationalError

from cure_study.course.release import released

REFUSED = "not_graded"  # the key of the reason in a notebook's metadata
MOST_BYTES = 200 * 10**6
NEW_CELL = {"code": new_code_cell, "markdown": new_markdown_cell, "raw": new_raw_cell}


class NotGradedError(Exception):
    """A submission cannot be graded; the message is the reason that its author reads."""


def expect_lesson(assignment: str, student: str, notebooks: list[str]) -> None:
    """Replace the files that were handed in by those the lesson has: nbgrader's pre_convert_hook.

    A notebook under another name then still reaches `Submission`, which nbgrader would skip.
    """
    names = sorted(path.name for path in Path("source", assignment).glob("*.ipynb"))
    if names:
        notebooks[:] = [str(Path(notebooks[0]).with_name(name)) for name in names]


class Submission(NotebookExporter):
    """Reads each notebook that nbgrader grades, and refuses, with a reason, what it cannot."""

    def from_filename(
        self, filename: str, resources: dict[str, Any] | None = None, **options: Any
    ) -> tuple[NotebookNode, dict[str, Any]]:
        path = Path(filename)
        names = {"name": path.stem, "path": str(path.parent)}
        resources = {**(resources or {}), "metadata": names}
        handed_in = path.parts[-4] == "submitted"  # else it is what the pass before this one wrote
        notebook = new_notebook() if handed_in else nbformat.read(path, as_version=4)
        try:
            found = read_submission(path) if handed_in else notebook
            return self.from_notebook_node(found, resources, **options)
        except OperationalError:  # the gradebook's fault, not the student's
            raise
        except Exception as error:
            refused = isinstance(error, NotGradedError)
            reason = str(error) if refused else f"{type(error).__name__}: {error}"
        self.log.error("%s: not graded: %s", resources["nbgrader"]["student"], reason)
        return self.from_notebook_node(refuse(notebook, reason), resources, **options)


def refuse(notebook: NotebookNode, reason: str) -> NotebookNode:
    """The notebook with the reason on top and in its metadata, so that it is not executed."""
    note = f"**This submission was not graded: {reason}**"
    notebook.metadata[REFUSED] = reason
    notebook.cells.insert(0, new_markdown_cell(note, id="not-graded"))
    return notebook


def read_submission(path: Path) -> NotebookNode:
    """The notebook at `path`, or the only one beside it whose name is not the lesson's.

    Keeps what is graded, the sources and the names of exercises; outputs, attachments, ids and
    versions, which nbformat may reject, are dropped. `metadata.remarks` lists what was unusual.
    Raises NotGradedError if there is no notebook or it cannot be read.
    """
    lesson = {other.name for other in Path("source", path.parent.name).glob("*.ipynb")}
    others = sorted(p for p in path.parent.glob("*.ipynb") if p.name not in lesson)
    if path.exists():
        remarks = [f"{other.name!r} was ignored, {path.name!r} was graded" for other in others]
    elif len(others) == 1 and not any(path.with_name(name).exists() for name in lesson):
        remarks = [f"{others[0].name!r} was graded as {path.name!r}"]
        path = others[0]
    else:
        found = ", ".join(repr(other.name) for other in others)
        remedy = f"rename the right one of {found}" if others else "it was not handed in"
        raise NotGradedError(f"there is no {path.name!r}: {remedy}")
    cells = [plain_cell(cell, number) for number, cell in enumerate(raw_cells(path), 1)]
    return new_notebook(cells=cells, metadata={"remarks": remarks})


def raw_cells(path: Path) -> list[Any]:
    """The cells of a notebook file of format 3 or 4, as its JSON has them."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES // 10**6} MB")
        data = json.loads(path.read_bytes().decode("utf-8-sig"))
        if isinstance(data, dict) and "worksheets" in data:
            data = nbformat.convert(nbformat.from_dict(data), 4)
        if not isinstance(data, dict) or not isinstance(data.get("cells"), list):
            raise ValueError("it has no list of cells")
    except Exception as error:
        reason = getattr(error, "strerror", None) or error
        message = f"{path.name!r} cannot be read as a notebook ({reason}): save it again in Jupyter"
        raise NotGradedError(message) from error
    return data["cells"]


def plain_cell(raw: Any, number: int) -> NotebookNode:
    """A valid cell with the source of `raw` and, if it has one, the name of its exercise."""
    raw = raw if isinstance(raw, dict) else {}
    kind, source = raw.get("cell_type"), raw.get("source", "")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if kind not in NEW_CELL or not isinstance(source, str):
        raise NotGradedError(f"cell {number} is not a notebook's cell: save it again in Jupyter")
    source = source.encode(errors="replace").decode()  # half a surrogate pair cannot be written
    cell = NEW_CELL[kind](source, id=f"cell-{number}")
    try:
        name = raw["metadata"]["nbgrader"]["grade_id"]
    except (KeyError, TypeError):
        return cell
    if isinstance(name, str):
        cell.metadata.nbgrader = {"grade_id": name}
    return cell


class Restore(NbGraderPreprocessor):
    """Puts the lesson's graded cells back as they were, and reports what the student changed."""

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        names = resources["nbgrader"]
        with Gradebook(names["db_url"]) as gradebook:
            lesson = lesson_cells(gradebook.find_notebook(names["notebook"], names["assignment"]))
        if REFUSED in nb.metadata:
            nb.cells += lesson
            return nb, resources
        nb.cells, remarks = restore_cells(nb.cells, lesson)
        remarks = nb.metadata.pop("remarks", []) + remarks
        if remarks:
            self.log.warning("%s: %s", names["student"], "; ".join(remarks))
            note = "\n".join(["Before grading:\n", *(f"- {remark}" for remark in remarks)])
            nb.cells.insert(0, new_markdown_cell(note, id="remarks"))
        return nb, resources


def lesson_cells(lesson: Any) -> list[NotebookNode]:
    """The exercises and tests of a notebook in the gradebook, in order, with the hidden tests."""
    points = {cell.name: cell.max_score for cell in [*lesson.grade_cells, *lesson.task_cells]}
    grades, tasks, solutions = (
        {cell.name for cell in cells}
        for cells in (lesson.grade_cells, lesson.task_cells, lesson.solution_cells)
    )
    cells = []
    for number, source in enumerate(lesson.source_cells, 1):
        name = source.name
        cell = NEW_CELL[source.cell_type](source.source, id=f"lesson-{number}")
        cell.metadata.nbgrader = {
            "grade_id": name, "grade": name in grades, "solution": name in solutions,
            "task": name in tasks, "locked": source.locked, "checksum": source.checksum,
            "cell_type": source.cell_type, "schema_version": 3,
        }  # fmt: skip
        if name in points:
            cell.metadata.nbgrader.points = points[name]
        cells.append(cell)
    return cells


def restore_cells(
    cells: list[NotebookNode], lesson: list[NotebookNode]
) -> tuple[list[NotebookNode], list[str]]:
    """The submission's cells with the lesson's marks and tests, and a remark on each change.

    A graded cell that is missing goes before the lesson's next cell that is there, and so after the
    answer to it. Raises NotGradedError if no cell is the lesson's.
    """
    handed_out = released(new_notebook(cells=lesson)).cells
    names = locate(cells, handed_out)
    place = {name: index for index, name in enumerate(names) if name}  # the last of several
    if not place:
        raise NotGradedError("it has no cell of this lesson: is it another lesson's notebook?")
    # What stands at each place in the end; a missing cell is put before the cell that is there.
    result = [[NEW_CELL[cell.cell_type](cell.source, id=cell.id)] for cell in cells] + [[]]
    position, remarks = len(cells), []
    for original, public in zip(reversed(lesson), reversed(handed_out), strict=True):
        name = name_of(original)
        if name not in place:
            if is_grade(original) or is_task(original):
                result[position].insert(0, original)
                remarks.append(f"cell {name!r} was missing and was put back")
            continue
        position = place[name]
        cell, copies = cells[position], names.count(name)
        if copies > 1:
            remarks.append(f"cell {name!r} was there {copies} times, the last one counts")
        if cell.cell_type != original.cell_type:
            remarks.append(f"cell {name!r} was made a {cell.cell_type} cell, which was undone")
        if not is_locked(original):
            original.source = cell.source
        elif text(cell) not in (text(public), text(original)):
            remarks.append(f"cell {name!r} was changed, which was undone")
        result[position][-1] = original
    return [cell for group in result for cell in group], remarks[::-1]


def locate(cells: list[NotebookNode], handed_out: list[NotebookNode]) -> list[str | None]:
    """The name of the lesson's cell that each cell is, or None.

    If an editor dropped every name, the tests are recognised by their text.
    """
    lesson = {name_of(cell) for cell in handed_out}
    names = [name_of(cell) if name_of(cell) in lesson else None for cell in cells]
    if any(names):
        return names
    tests = {text(cell): name_of(cell) for cell in handed_out if is_locked(cell) and text(cell)}
    return [tests.get(text(cell)) for cell in cells]


def name_of(cell: NotebookNode) -> str | None:
    """The name of an exercise or test; None for any other cell."""
    return cell.metadata.get("nbgrader", {}).get("grade_id")


def text(cell: NotebookNode) -> str:
    """A cell's source without the white space that editors add and remove."""
    return "\n".join(line.rstrip() for line in cell.source.strip().splitlines())
