"""Going through a lesson as a student would, without a kernel: seconds instead of minutes."""

import contextlib
import io
import traceback
from typing import NamedTuple


class Played(NamedTuple):
    """The points of each graded cell, what went wrong where, and what the other cells defined."""

    points: dict
    wrong: dict
    around: dict


def play(notebook, answers=None, around=None):
    """Execute the code cells in turn; with `around`, only exercises and tests, in what it defines.

    `answers` take the place of the cells of these names. As in nbgrader, a graded cell that raises
    gets nothing, and the next cell goes on.
    """
    space, from_exercises = {"__name__": "lesson", **(around or {})}, set()
    points, wrong, quiet = {}, {}, io.StringIO()
    for number, cell in enumerate(notebook.cells):
        marks = cell.metadata.get("nbgrader", {})
        if cell.cell_type != "code" or (around is not None and not marks):
            continue
        name, before = marks.get("grade_id", f"cell {number}"), dict(space)
        source = (answers or {}).get(name, cell.source)
        try:
            with contextlib.redirect_stderr(quiet), contextlib.redirect_stdout(quiet):
                exec(compile(source, name, "exec"), space)
        except Exception:
            wrong[name] = traceback.format_exc(limit=-3)
        if marks:
            from_exercises |= {key for key, value in space.items() if before.get(key) is not value}
        if marks.get("grade"):
            points[name] = 0 if name in wrong else marks["points"]
    return Played(points, wrong, {key: space[key] for key in space if key not in from_exercises})
