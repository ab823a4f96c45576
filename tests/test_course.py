"""The course: lessons in step with their answers, and grading that a submission cannot spoil."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from course_answers import OTHERWISE, WRONG
from course_play import play
from nbformat.v4 import new_code_cell, new_notebook

from cure_core.course.grading import NotGradedError, guarded
from cure_core.course.release import released

COURSE = Path(__file__).parents[1] / "notebooks" / "course"

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

# What each student hands in for the two exercises, and the points it is worth.
HANDED_IN = {
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


def toy_notebook():
    """A lesson of two exercises, as a teacher writes it."""
    cells = []
    for name, source in TOY:
        told = {
            "grade_id": name, "schema_version": 3, "task": False, "grade": name in POINTS,
            "locked": name in POINTS, "solution": name not in POINTS,
        } | ({"points": POINTS[name]} if name in POINTS else {})  # fmt: skip
        cells.append(new_code_cell(source, metadata={"nbgrader": told}))
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def hand_in(course, lesson, student, answers):
    """Put a submission where nbgrader looks: the student version with these answers."""
    notebook = nbformat.read(course / "release" / lesson / f"{lesson}.ipynb", as_version=4)
    for cell in notebook.cells:
        told = cell.metadata.get("nbgrader", {})
        if told.get("solution") and told["grade_id"] in answers:
            cell.source = answers[told["grade_id"]]
    folder = course / "submitted" / student / lesson
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / f"{lesson}.ipynb")


def nbgrader(course, *arguments, check=True):
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=course, env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done.stdout + done.stderr


def points(course, lesson, student):
    """What the gradebook says of a submission, exercise by exercise."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        submission = gradebook.find_submission(lesson, student)
        return {g.name: g.score for notebook in submission.notebooks for g in notebook.grades}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The toy course after all of `HANDED_IN` was graded in one go, and what was said then."""
    course = tmp_path_factory.mktemp("course")
    shutil.copy(COURSE / "nbgrader_config.py", course)
    with open(course / "nbgrader_config.py", "a") as config:
        config.write("c.Apart.cell_seconds, c.Apart.seconds, c.Apart.memory = 3, 15, 10**9\n")
    (course / "source" / "toy").mkdir(parents=True)
    nbformat.write(toy_notebook(), course / "source" / "toy" / "toy.ipynb")
    (course / "source" / "toy" / "toy.py").write_text("the solutions")  # as beside every lesson
    (course / "source" / "toy" / "data.csv").write_text("1,2")
    nbgrader(course, "generate_assignment", "toy")
    for student, (answers, _) in HANDED_IN.items():
        named = dict(zip(("first", "second"), answers, strict=True))
        named = {name: f"COURSE = {str(course)!r}\n{text}" for name, text in named.items()}
        hand_in(course, "toy", student, named)
    return course, nbgrader(course, "autograde", "toy")


@pytest.mark.xdist_group("grading")  # once for all
def test_the_student_version_has_neither_solutions_nor_hidden_tests(graded):
    course, _ = graded
    released = (course / "release" / "toy" / "toy.ipynb").read_text()
    assert "double(1) == 2" in released
    assert {path.name for path in (course / "release" / "toy").iterdir()} == {
        "toy.ipynb",
        "data.csv",
    }
    for hidden in ("return 2 * x", "double(3) == 6", "answer == 4"):
        assert hidden not in released


@pytest.mark.xdist_group("grading")  # once for all
@pytest.mark.parametrize("student", HANDED_IN)
def test_a_submission_costs_or_earns_only_its_own_points(graded, student):
    assert points(graded[0], "toy", student) == dict(
        zip(POINTS, HANDED_IN[student][1], strict=True)
    )


@pytest.mark.xdist_group("grading")  # once for all
def test_what_was_meddled_with_is_put_back_and_kept(graded):
    course, said = graded
    assert (course / "gradebook.db.changed-by-forges").read_text() == "all mine"
    assert {p.parent.parent.name for p in course.glob("submitted/*/toy/toy.ipynb")} == set(
        HANDED_IN
    )
    assert "it changed" in said


def test_whatever_was_put_in_anothers_place_gives_way(tmp_path):
    """A file where a folder was, a folder where a file was, and a link to elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("not the course's")
    course = tmp_path / "course"
    work = [course / "submitted" / name / "toy" / "toy.ipynb" for name in ("anne", "bob", "cleo")]
    for path in work:
        path.parent.mkdir(parents=True)
        path.write_text("own work")

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
    assert [path.read_text() for path in work] == ["own work"] * 3
    assert not any(path.is_symlink() for path in work)
    assert elsewhere.read_text() == "not the course's"
    assert sorted(p.name for p in (course / "submitted").iterdir()) == ["anne", "bob", "cleo"]


@pytest.fixture(scope="module", params=LESSONS)
def lesson(request, tmp_path_factory):
    """A lesson's name, its notebook, and how it went with the solutions, in the tiny world."""
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
    exercises = {told["grade_id"] for told in metadata(notebook) if told.get("solution")}
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
        told = cell.metadata.get("nbgrader", {})
        assert ("BEGIN SOLUTION" in cell.source) == bool(told.get("solution"))
        assert ("BEGIN HIDDEN TESTS" in cell.source) == bool(told.get("grade"))
    assert len({told["grade_id"] for told in metadata(notebook)}) == len(metadata(notebook))
