"""The course: lessons in step with their answers, and grading that a submission cannot spoil."""

import base64
import csv
import html
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from course_answers import OTHERWISE, WRONG
from course_damage import DAMAGE, PASSED_OVER
from course_play import play
from nbformat.v4 import new_code_cell, new_notebook

from cure_study.course import grading
from cure_study.course.feedback import POLICY, self_contained
from cure_study.course.grades import all_students, status
from cure_study.course.grading import IsolatedExecute, KernelStartError, NotGradedError, guarded
from cure_study.course.release import released
from cure_study.course.submission import read_submission, restore_cells

COURSE = Path(__file__).parents[3] / "notebooks" / "course"

LESSONS = sorted(path.name for path in (COURSE / "source").iterdir())

TOY = [
    ("first", "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"),
    ("test_first", "assert double(1) == 2\n### BEGIN HIDDEN TESTS\nassert double(3) == 6\n"
     "### END HIDDEN TESTS"),
    ("second", "### BEGIN SOLUTION\nanswer = 4\n### END SOLUTION"),
    ("test_second", "### BEGIN HIDDEN TESTS\nassert answer == 4\n### END HIDDEN TESTS"),
]  # fmt: skip
POINTS = {"test_first": 3, "test_second": 2}
RIGHT = (
    "import warnings\ndef double(x):\n    warnings.warn('slow')\n    return x + x",
    "answer = 2 + 2",
)
RIGHT_BY_NAME = dict(zip(("first", "second"), RIGHT, strict=True))

UNTOUCHED = ("raise NotImplementedError",) * 2

# What each student hands in for the two exercises, and the points it is worth.
HANDED_IN = {
    "untouched": (UNTOUCHED, (0, 0)),
    "otherwise": (RIGHT, (3, 2)),
    "visible_only": (("def double(x):\n    return 2", RIGHT[1]), (0, 2)),
    "leaves": (("def double(x):\n    raise SystemExit", RIGHT[1]), (0, 2)),
    "loops": (("while True:\n    pass", RIGHT[1]), (0, 2)),
    "stubborn": (
        (
            "import time\nwhile True:\n    try:\n        time.sleep(1)\n"
            "    except BaseException:\n        pass",
            RIGHT[1],
        ),
        (0, 0),
    ),
    "greedy": (("held = bytearray(10**10)", RIGHT[1]), (0, 2)),
    "killed": (("import os\nos.kill(os.getpid(), 9)", RIGHT[1]), (0, 0)),
    "deletes": (
        ("import os, shutil\nshutil.rmtree(os.getcwd())\n" + RIGHT[0], RIGHT[1]),
        (3, 2),
    ),
    "forges": (
        ("import pathlib\npathlib.Path(COURSE, 'gradebook.db').write_text('all mine')\n"
         "[p.unlink() for p in pathlib.Path(COURSE, 'submitted').rglob('*.ipynb')]\n" + RIGHT[0],
         RIGHT[1]),
        (0, 0),
    ),
}  # fmt: skip
# What happened to some of these files on their way, which changes no points.
DAMAGED = {
    "visible_only": "other editor",
    "leaves": "download",
    "loops": "repeated test",
    "greedy": "no tests",
    "forges": "nbformat 4.4",
}
# Right answers in files that cannot be graded.
LOST = {"José": "cut off", "anne": "other lesson"}


def toy_notebook():
    """A lesson of two exercises, as a teacher writes it."""
    cells = []
    for name, source in TOY:
        marks = {
            "grade_id": name, "schema_version": 3, "task": False, "grade": name in POINTS,
            "locked": name in POINTS, "solution": name not in POINTS,
        } | ({"points": POINTS[name]} if name in POINTS else {})  # fmt: skip
        cells.append(new_code_cell(source, metadata={"nbgrader": marks}))
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def hand_in(course, student, answers, inflict):
    """Put the toy lesson with these answers where nbgrader looks, damage it, return its path."""
    notebook = nbformat.read(course / "release" / "toy" / "toy.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = answers.get(cell.metadata.nbgrader.grade_id, cell.source)
    path = course / "submitted" / student / "toy" / "toy.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)
    inflict(path)
    return path


def nbgrader(course, *arguments, check=True):
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=course, env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done.stdout + done.stderr


def points(course, student):
    """The points of a submission in the gradebook, exercise by exercise."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        submission = gradebook.find_submission("toy", student)
        return {g.name: g.score for notebook in submission.notebooks for g in notebook.grades}


@pytest.fixture(scope="module")
def toy_course(tmp_path_factory):
    """A course of the toy lesson alone, handed out."""
    course = tmp_path_factory.mktemp("course")
    shutil.copy(COURSE / "nbgrader_config.py", course)
    with open(course / "nbgrader_config.py", "a") as config:
        config.write("limits = c.IsolatedExecute\n")
        config.write("limits.cell_seconds, limits.seconds, limits.memory = 3, 10, 10**9\n")
    (course / "source" / "toy").mkdir(parents=True)
    nbformat.write(toy_notebook(), course / "source" / "toy" / "toy.ipynb")
    (course / "source" / "toy" / "toy.py").write_text("the solutions")  # as beside every lesson
    (course / "source" / "toy" / "data.csv").write_text("1,2")
    nbgrader(course, "generate_assignment", "toy")
    return course


@pytest.fixture(scope="module")
def graded(toy_course, tmp_path_factory):
    """A copy of the toy course after everything was graded in one go, and what was printed then."""
    course = tmp_path_factory.mktemp("graded") / "course"
    shutil.copytree(toy_course, course)
    for student, (answers, _) in HANDED_IN.items():
        named = dict(zip(("first", "second"), answers, strict=True))
        named = {name: f"COURSE = {str(course)!r}\n{text}" for name, text in named.items()}
        hand_in(course, student, named, DAMAGE[DAMAGED.get(student, "none")].inflict)
    for student, damage in LOST.items():
        hand_in(course, student, RIGHT_BY_NAME, DAMAGE[damage].inflict)
    for student, inflict in PASSED_OVER.items():
        hand_in(course, student, RIGHT_BY_NAME, inflict)
    (course / "submitted" / "absent").mkdir()
    return course, nbgrader(course, "autograde", "toy")


def grades_of(course):
    """The exported table, by student."""
    nbgrader(course, "export")
    with open(course / "grades.csv", encoding="utf-8", newline="") as file:
        return {row["student_id"]: row for row in csv.DictReader(file)}


@pytest.mark.xdist_group("grading")  # once for all
def test_the_student_version_has_neither_solutions_nor_hidden_tests(toy_course):
    page = (toy_course / "release" / "toy" / "toy.ipynb").read_text(encoding="utf-8")
    assert "double(1) == 2" in page
    assert {path.name for path in (toy_course / "release" / "toy").iterdir()} == {
        "toy.ipynb",
        "data.csv",
    }
    for hidden in ("return 2 * x", "double(3) == 6", "answer == 4"):
        assert hidden not in page


@pytest.mark.xdist_group("grading")
@pytest.mark.parametrize("student", HANDED_IN)
def test_a_submission_costs_or_earns_only_its_own_points(graded, student):
    assert points(graded[0], student) == dict(zip(POINTS, HANDED_IN[student][1], strict=True))


@pytest.mark.xdist_group("grading")
def test_what_a_submission_changed_is_put_back_and_kept(graded):
    course, printed = graded
    assert (course / "gradebook.db.changed-by-forges").read_text() == "all mine"
    there = {path.parent.parent.name for path in course.glob("submitted/*/toy/*.ipynb")}
    assert there == {*HANDED_IN, *LOST, "brackets [2]"}
    assert "it changed" in printed


@pytest.mark.xdist_group("grading")
def test_grading_prints_one_line_a_damaged_submission_and_none_for_an_untouched_one(graded):
    _, printed = graded
    assert "Traceback" not in printed
    lines = [line for line in printed.splitlines() if re.search(r"WARNING|ERROR", line)]
    assert not [line for line in lines if "untouched" in line or "has changed" in line]
    for student, words in {
        "visible_only": "'test_second' was missing",
        "leaves": "'toy (1).ipynb' was graded as 'toy.ipynb'",
        "loops": "'test_first' was there 2 times",
        "greedy": "'test_first' was missing and was put back; cell 'test_second'",
        "José": "not graded: 'toy.ipynb' cannot be read",
        "anne": "not graded: it has no cell of this lesson",
    }.items():
        (line,) = [line for line in lines if f" {student}: " in line]
        assert words in line


@pytest.mark.xdist_group("grading")
def test_the_grades_distinguish_failed_not_submitted_and_zero(graded):
    grades = grades_of(graded[0])
    assert grades.keys() == {*HANDED_IN, *LOST, *PASSED_OVER, "absent"}
    failed = {
        "stubborn": "10 seconds",
        "killed": "died",
        "forges": "it changed",
        "José": "cannot be read",
        "anne": "no cell of this lesson",
        "script": "only 'toy.py'",
        "unpacked": "only 'toy/toy.ipynb'",
        "brackets [2]": "rename",
        "folder renamed": "must be named 'toy'",
    }
    for student, row in grades.items():
        assert float(row["score"]) == sum(HANDED_IN.get(student, ((), (0, 0)))[1])
        kind, _, reason = row["status"].partition(": ")
        assert failed.get(student, "") in reason
        expected = "failed" if student in failed else "graded"
        assert kind == ("not submitted" if student == "absent" else expected)


@pytest.mark.xdist_group("grading")
def test_a_page_of_feedback_gives_the_reason_and_loads_nothing(graded):
    course, _ = graded
    nbgrader(course, "generate_feedback", "toy", "--student", "José")
    page = (course / "feedback" / "José" / "toy" / "toy.html").read_text(encoding="utf-8")
    assert "This submission was not graded: " in page
    assert "<script" not in page
    assert page.index(html.escape(POLICY, quote=False)) < page.index("<title>")


@pytest.mark.slow
def test_a_class_with_every_damage_is_graded_in_one_go(toy_course, tmp_path):
    course = tmp_path / "course"
    shutil.copytree(toy_course, course)
    for student, damage in DAMAGE.items():
        hand_in(course, student, RIGHT_BY_NAME, damage.inflict)
    assert "Traceback" not in nbgrader(course, "autograde", "toy")
    grades = grades_of(course)
    for student, damage in DAMAGE.items():
        assert points(course, student) == dict(zip(POINTS, damage.points, strict=True)), student
        assert grades[student]["status"].partition(":")[0] == damage.status, student


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_submission_is_read_or_refused_with_a_reason(name, tmp_path, monkeypatch):
    """Without nbgrader and its kernels; the slow test above grades the same files with them."""
    monkeypatch.chdir(tmp_path)
    for folder, lesson in (("source", toy_notebook()), ("release", released(toy_notebook()))):
        (tmp_path / folder / "toy").mkdir(parents=True)
        nbformat.write(lesson, tmp_path / folder / "toy" / "toy.ipynb")
    path = hand_in(tmp_path, "student", RIGHT_BY_NAME, DAMAGE[name].inflict)
    if DAMAGE[name].status == "failed":
        with pytest.raises(NotGradedError, match=r"toy.ipynb|of this lesson|cell \d"):
            restore_cells(read_submission(path).cells, toy_notebook().cells)
        return
    cells, _ = restore_cells(read_submission(path).cells, toy_notebook().cells)
    played = play(new_notebook(cells=cells))
    assert played.points == dict(zip(POINTS, DAMAGE[name].points, strict=True)), played.wrong


def test_a_changed_test_is_reported_and_changed_white_space_is_not():
    cells = released(toy_notebook()).cells
    cells[1].source += " \n\n"
    assert restore_cells(cells, toy_notebook().cells)[1] == []
    cells[1].source = cells[1].source.replace("== 2", "== 3")
    restored, remarks = restore_cells(cells, toy_notebook().cells)
    assert remarks == ["cell 'test_first' was changed, which was undone"]
    assert restored[1].source == toy_notebook().cells[1].source


def test_a_student_listed_in_another_unicode_form_is_one_student(tmp_path):
    (tmp_path / "submitted" / "Jose\u0301").mkdir(parents=True)
    (tmp_path / "submitted" / ".hidden").mkdir()
    listed = SimpleNamespace(id="Jos\u00e9"), SimpleNamespace(id="anne")
    students = all_students(SimpleNamespace(students=listed), tmp_path)
    assert students == {"Jose\u0301": listed[0], "anne": listed[1]}


def test_a_damaged_time_stamp_is_the_reason_in_the_grades(tmp_path):
    folder = tmp_path / "submitted" / "anne" / "toy"
    folder.mkdir(parents=True)
    (folder / "toy.ipynb").touch()
    assert status(tmp_path, "anne", "toy", ["toy"]).endswith("`nbgrader autograde toy` says why")
    (folder / "timestamp.txt").write_text("yesterday-ish")
    assert status(tmp_path, "anne", "toy", ["toy"]).startswith("failed: timestamp.txt")
    (folder / "timestamp.txt").write_text("2026-01-31 12:00:00 UTC")
    assert "timestamp" not in status(tmp_path, "anne", "toy", ["toy"])


def test_a_self_contained_page_keeps_links_and_formulas():
    page = self_contained(
        "<style>@import url(//a.b/c.css); p {background: url('https://a.b/c.png')}</style>"
        "<script src='https://a.b/mathjax.js'></script><link href='https://a.b/c.css'>"
        "<meta http-equiv='refresh' content='0; url=https://a.b'><iframe src='https://a.b'></iframe>"
        r"<div class='text_cell_render'>A $5 stamp, $6 more: $\frac{1}{2} &lt; x$, $\nosuch{1}$"
        "<code>$y$</code><a href='https://a.b'>a link</a></div>"
        "<img src='http://a.b/c.png'><p style='background: url(http://a.b)' onclick='f()'>x</p>"
        "<svg><image xlink:href='//a.b/c.png'></image></svg>"
    )
    # Styles, event handlers and drawings are left to the browser, which the policy holds back.
    assert page.startswith("<meta content=\"default-src 'none'; style-src 'unsafe-inline'; img-src")
    assert not re.search(r"<script|<link|<iframe|refresh|<img src=.http", page)
    for kept in ('<a href="https://a.b">', "image at http://a.b/c.png", "$5 stamp, $6 more"):
        assert kept in page
    for not_drawn in (r"$\nosuch{1}$", "<code>$y$</code>"):
        assert not_drawn in page
    ((formula, svg),) = re.findall(r'alt="(.*?)".*?src="data:image/svg\+xml;base64,(.*?)"', page)
    assert formula == r"\frac{1}{2} &lt; x"
    assert b"<svg" in base64.b64decode(svg)


def test_a_kernel_that_does_not_start_is_started_again(monkeypatch):
    failures = iter([KernelStartError("died")] * 2)

    def execute_once(*_):
        for failure in failures:
            raise failure
        return "executed"

    monkeypatch.setattr(IsolatedExecute, "execute_once", execute_once)
    assert IsolatedExecute().execute(new_notebook(), Path()) == "executed"
    failures = iter([KernelStartError("died")] * grading.KERNEL_STARTS)
    with pytest.raises(KernelStartError):
        IsolatedExecute().execute(new_notebook(), Path())


def test_a_kernel_that_cannot_start_is_not_the_submissions_fault(tmp_path, monkeypatch):
    kernel = tmp_path / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(
        '{"argv": ["false"], "display_name": "Python 3", "language": "python"}'
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    with pytest.raises(KernelStartError, match="did not start"):
        IsolatedExecute(memory=10**9).execute_once(toy_notebook(), tmp_path / "kernels")


def test_what_was_put_in_anothers_place_is_removed(tmp_path):
    """A file where a folder was, a folder where a file was, and a link to elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("not the course's")
    course = tmp_path / "course"
    work = [course / "submitted" / name / "toy" / "toy.ipynb" for name in ("anne", "bob", "cleo")]
    for path in work:
        path.parent.mkdir(parents=True)
        path.write_text("their work")

    def meddle():
        with guarded(course, "mallory"):
            shutil.rmtree(course / "submitted" / "anne")
            (course / "submitted" / "anne").write_text("gone")
            work[1].unlink()
            work[1].mkdir()
            work[2].unlink()
            work[2].symlink_to(elsewhere)

    with pytest.raises(NotGradedError, match="of the course"):
        meddle()
    assert [path.read_text() for path in work] == ["their work"] * 3
    assert not any(path.is_symlink() for path in work)
    assert elsewhere.read_text() == "not the course's"
    assert sorted(p.name for p in (course / "submitted").iterdir()) == ["anne", "bob", "cleo"]


@pytest.fixture(scope="module", params=LESSONS)
def lesson(request, tmp_path_factory):
    """A lesson's name, its notebook, and how it went with the solutions, on the tiny data set."""
    notebook = nbformat.read(COURSE / "source" / request.param / f"{request.param}.ipynb", 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NBGRADER_EXECUTION", "autograde")
        patch.setenv("MPLBACKEND", "agg")
        patch.setenv("CURE_CACHE", str(tmp_path_factory.getbasetemp() / "lessons"))
        return request.param, notebook, play(notebook)


@pytest.mark.xdist_group("lessons")  # one after another, for the sake of the cache
def test_the_solution_gets_full_marks_and_the_untouched_version_none(lesson):
    _, notebook, played = lesson
    assert not played.wrong
    assert sum(played.points.values()) >= 8
    untouched = play(released(notebook), around=played.around)
    assert untouched.points == dict.fromkeys(played.points, 0)


@pytest.mark.xdist_group("lessons")
def test_other_words_keep_the_points_and_a_mistake_loses_its_own(lesson):
    name, notebook, played = lesson
    exercises = {marks["grade_id"] for marks in metadata(notebook) if marks.get("solution")}
    assert set(OTHERWISE[name]) == set(WRONG[name]) == exercises
    otherwise = play(notebook, OTHERWISE[name], played.around)
    assert otherwise.points == played.points, otherwise.wrong
    for exercise, answer in WRONG[name].items():
        points = play(notebook, {exercise: answer}, played.around).points
        lost = {test for test in points if points[test] < played.points[test]}
        assert lost == {f"test_{exercise}"}


def metadata(notebook):
    """What nbgrader knows of each of its cells."""
    return [cell.metadata.nbgrader for cell in notebook.cells if "nbgrader" in cell.metadata]


def test_hidden_tests_and_solutions_are_marked_in_every_exercise(lesson):
    _, notebook, _ = lesson
    for cell in notebook.cells:
        marks = cell.metadata.get("nbgrader", {})
        assert ("BEGIN SOLUTION" in cell.source) == bool(marks.get("solution"))
        assert ("BEGIN HIDDEN TESTS" in cell.source) == bool(marks.get("grade"))
    assert len({marks["grade_id"] for marks in metadata(notebook)}) == len(metadata(notebook))
