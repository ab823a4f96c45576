"""Grading by nbgrader, each submission in a separate process and folder.

nbgrader executes submissions one after another in the course's folder. `Apart` replaces its
`Execute`, so that what a submission does to its time, memory, kernel or folder costs only that
submission. It is not a sandbox: the code runs as the user who grades.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nbformat
import psutil
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import is_grade
from traitlets import Integer

from cure_study.course import execute
from cure_study.course.submission import REFUSED, NotGradedError

MARK = "CURE_SUBMISSION"  # in the environment of all that a submission starts
GUARDED = ("gradebook.db", "submitted", "autograded")
KERNEL_STARTS = 3


class KernelStartError(NotGradedError):
    """The kernel did not start, before any cell of the submission ran."""


class Apart(NbGraderPreprocessor):
    """Executes a notebook in a separate process and folder, within limits.

    Raises NotGradedError for a submission that breaks off, which `Submission` then refuses.
    """

    seconds = Integer(900, help="for the whole notebook").tag(config=True)
    cell_seconds = Integer(120, help="for one cell, which fails then").tag(config=True)
    memory = Integer(6 * 10**9, help="bytes that a process may write to").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        if REFUSED in nb.metadata:
            return fail(nb, nb.metadata[REFUSED]), resources
        where = resources["nbgrader"]
        files = Path("autograded") / where["student"] / where["assignment"]
        with guarded(Path.cwd(), where["student"]):
            executed = run_apart(nb, files, self.seconds, self.cell_seconds, self.memory)
        executed.metadata = nb.metadata  # a submission must not change its own status
        return executed, resources


def run_apart(
    notebook: NotebookNode, files: Path, seconds: int, cell_seconds: int, memory: int
) -> NotebookNode:
    """The notebook with its outputs, executed among copies of the other files in `files`.

    A kernel that does not start, on a busy machine, is started again up to twice. Raises
    NotGradedError where the execution takes more than `seconds`, the kernel dies, or the notebook
    that comes back is not the one that was sent.
    """
    for _ in range(KERNEL_STARTS - 1):
        with suppress(KernelStartError):
            return run_once(notebook, files, seconds, cell_seconds, memory)
    return run_once(notebook, files, seconds, cell_seconds, memory)


def run_once(
    notebook: NotebookNode, files: Path, seconds: int, cell_seconds: int, memory: int
) -> NotebookNode:
    """`run_apart` with one start of the kernel, which may raise KernelStartError.

    Cache and home are new, empty folders. Afterwards its descendants and all that carries its mark
    are ended; a process that hides is not found.
    """
    mark = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="grading-", ignore_cleanup_errors=True) as temporary:
        home, source, target = (
            Path(temporary) / name for name in ("home", "in.ipynb", "out.ipynb")
        )
        work, log = home / "work", Path(temporary) / "log"
        work.mkdir(parents=True)
        for path in files.rglob("*"):
            if path.is_file() and path.suffix != ".ipynb":
                copy = work / path.relative_to(files)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(path.read_bytes())
        nbformat.write(notebook, source)
        settings = {name: str(home / name.lower()) for name in ("CURE_CACHE", "IPYTHONDIR")}
        settings |= {"JUPYTER_RUNTIME_DIR": str(home / "runtime"), "HOME": str(home), MARK: mark}
        settings |= {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}  # the same numbers every time
        arguments = [str(source), str(target), str(cell_seconds), str(memory)]
        with open(log, "w", encoding="utf-8") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", execute.__name__, *arguments],
                cwd=work, env=os.environ | settings, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
            )  # fmt: skip
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise NotGradedError(f"it was not done after {seconds} seconds") from error
        finally:
            end_all(process, mark)
        if status == execute.NO_KERNEL:
            raise KernelStartError("its kernel did not start")
        if status != 0 or not target.is_file():
            lines = (
                log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                if log.is_file()
                else []
            )
            raise NotGradedError(f"its execution broke off: {lines[-1] if lines else status}"[:500])
        try:
            executed = nbformat.read(target, as_version=4)
        except Exception as error:
            raise NotGradedError("what came back is not a notebook") from error
    return checked(executed, notebook)


def checked(executed: NotebookNode, sent: NotebookNode) -> NotebookNode:
    """`executed`, where its cells are those that were sent and every graded one was executed."""
    if [(c.cell_type, c.source, c.metadata.get("nbgrader")) for c in executed.cells] != [
        (c.cell_type, c.source, c.metadata.get("nbgrader")) for c in sent.cells
    ]:
        raise NotGradedError("the notebook that came back is not the one that was sent")
    graded = [c for c in executed.cells if is_grade(c) and c.cell_type == "code"]
    if any(cell.execution_count is None for cell in graded if cell.source.strip()):
        raise NotGradedError("not every graded cell was executed")
    for cell in graded:  # nbgrader takes anything on stderr for an error, even a warning
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return executed


def end_all(process: "subprocess.Popen[bytes]", mark: str) -> None:
    """End the process and its descendants, and whatever has its mark in its environment."""
    family: list[psutil.Process] = []
    with suppress(psutil.Error):
        family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    for other in [*family, *psutil.process_iter()]:
        try:
            if other in family or other.environ().get(MARK) == mark:
                other.kill()
        except (psutil.Error, OSError):
            continue


def fail(notebook: NotebookNode, reason: str) -> NotebookNode:
    """The notebook with an error that gives the reason in every graded code cell."""
    message = [f"The submission was not graded: {reason}"]
    for cell in notebook.cells:
        if is_grade(cell) and cell.cell_type == "code":
            cell.outputs = [
                nbformat.v4.new_output("error", ename="NotGraded", evalue=reason, traceback=message)
            ]
    return notebook


@contextmanager
def guarded(course: Path, student: str) -> Iterator[None]:
    """Put the gradebook and everybody's work back as they were where the block changed them.

    The changed gradebook is kept beside it, under the student's name. Raises NotGradedError then.
    """
    before = contents(course)
    try:
        yield
    finally:
        damaged = sorted(str(path.relative_to(course)) for path in changed(course, before))
        if damaged:
            restore(course, before, student)
    if damaged:
        raise NotGradedError(f"it changed {', '.join(damaged[:3])} of the course")


def contents(course: Path) -> dict[Path, bytes]:
    """Every guarded file, with its content."""
    roots = [course / name for name in GUARDED]
    found = [p for root in roots for p in (root, *root.rglob("*")) if p.is_file()]
    return {path: path.read_bytes() for path in found}


def changed(course: Path, before: dict[Path, bytes]) -> set[Path]:
    """The files that are new, gone, or other than `before`."""
    now = contents(course)
    return {path for path in now.keys() | before.keys() if now.get(path) != before.get(path)}


def restore(course: Path, before: dict[Path, bytes], student: str) -> None:
    """Make every guarded file what it was."""
    touched = changed(course, before)
    for path in touched:  # first out of the way, for a file may stand where a folder was
        if path.name == GUARDED[0] and path.is_file():
            path.with_name(f"{path.name}.changed-by-{student}").write_bytes(path.read_bytes())
        _remove(path)
    for path in touched & before.keys():
        for parent in path.relative_to(course).parents:
            if not (course / parent).is_dir() or (course / parent).is_symlink():
                _remove(course / parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(before[path])


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
