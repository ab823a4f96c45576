"""The grades as CSV, where a failed submission, a missing one and zero points look different."""

import csv
import glob
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from unicodedata import normalize

import nbformat
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.plugins import ExportPlugin
from nbgrader.utils import parse_utc

from cure_study.course.submission import REFUSED

COLUMNS = [
    "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email",
    "raw_score", "late_submission_penalty", "score", "max_score", "status",
]  # fmt: skip


class Grades(ExportPlugin):
    """nbgrader's table with a column `status`: graded, not submitted, or failed and the reason.

    It has a row for each assignment and each student of the gradebook or in `submitted/`.
    """

    def export(self, gradebook: Gradebook) -> None:
        """Write the table to `to` (grades.csv by default), UTF-8."""
        course, target = Path(self.parent.coursedir.root), self.to or "grades.csv"
        students = all_students(gradebook, course)
        chosen = [str(name) for name in self.student] or list(students)
        lessons = [str(name) for name in self.assignment] or [a.name for a in gradebook.assignments]
        self.log.info("Exporting grades to %s", target)
        with open(target, "w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, COLUMNS)
            table.writeheader()
            for assignment in gradebook.assignments:
                for name in students:
                    if assignment.name in lessons and name in chosen:
                        table.writerow(row(gradebook, course, assignment, name, students[name]))


def all_students(gradebook: Gradebook, course: Path) -> dict[str, Any]:
    """The gradebook's students, and those it does not know who have a folder in `submitted/`.

    Someone who is listed under one Unicode form of a name (NFC, NFD) and hands in under another is
    one student, by the name of the folder.
    """
    folders = sorted(path.name for path in (course / "submitted").glob("[!.]*") if path.is_dir())
    folder_of = {normalize("NFC", name): name for name in folders}
    listed = {folder_of.get(normalize("NFC", s.id), s.id): s for s in gradebook.students}
    return dict.fromkeys(folders) | listed


def row(
    gradebook: Gradebook, course: Path, assignment: Any, name: str, student: Any
) -> dict[str, Any]:
    """A row of the table; None becomes an empty field."""
    score = penalty = 0.0
    timestamp = None
    with suppress(MissingEntry):
        submission = gradebook.find_submission(assignment.name, name)
        score, timestamp = submission.score, submission.timestamp
        penalty = submission.late_submission_penalty or 0.0
    return {key: getattr(student, key, None) for key in ("last_name", "first_name", "email")} | {
        "assignment": assignment.name,
        "duedate": assignment.duedate,
        "timestamp": timestamp,
        "student_id": name,
        "raw_score": score,
        "late_submission_penalty": penalty,
        "score": max(0.0, score - penalty),
        "max_score": assignment.max_score,
        "status": status(course, name, assignment.name, [a.name for a in gradebook.assignments]),
    }


def status(course: Path, student: str, assignment: str, assignments: list[str]) -> str:
    """What became of a submission: "graded", "not submitted" or "failed: REASON"."""
    pages = sorted((course / "autograded" / student / assignment).glob("*.ipynb"))
    if pages:
        found = [nbformat.read(page, as_version=4).metadata.get(REFUSED) for page in pages]
        reasons = "; ".join(dict.fromkeys(reason for reason in found if reason))
        return f"failed: {reasons}" if reasons else "graded"
    folder = course / "submitted" / student / assignment
    if folder.is_dir():
        return f"failed: {obstacle(folder)}"
    for other in sorted(path.name for path in folder.parent.glob("*/")):
        if other not in assignments and assignment in get_close_matches(other, assignments, 1):
            return f"failed: the folder {other!r} must be named {assignment!r}"
    return "not submitted"


def obstacle(folder: Path) -> str:
    """Why nbgrader graded nothing in this folder, as far as it can be seen."""
    student = folder.parent.name
    if glob.escape(student) != student:
        return f"nbgrader reads no folder with *, ? or [ in its name: rename {student!r}"
    if not any(folder.glob("*.ipynb")):
        files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
        names = ", ".join(repr(str(path)) for path in files[:3])
        return f"there is no notebook in the folder, only {names or 'nothing'}"
    with suppress(OSError):
        try:
            parse_utc((folder / "timestamp.txt").read_text(encoding="utf-8").strip())
        except ValueError:
            return "timestamp.txt is not a time: correct or remove it"
    return f"it was not graded; `nbgrader autograde {folder.name}` says why"
