"""Grading by nbgrader, each submission in a separate process and folder.

nbgrader executes submissions one after another in the course's folder. `IsolatedExecute` replaces
its `Execute`, so that what a submission does to its time, memory, kernel or folder costs only that
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
KERNEL_STARTS = 3  # on a busy machine a kernel may not start at once


class KernelStartError(NotGradedError):
    """The kernel did not start, before any cell of the submission ran."""


class IsolatedExecute(NbGraderPreprocessor):
    """Executes a notebook in a separate process and folder, within limits.

    Raises NotGradedError for a submission that breaks off, which `Submission` then refuses.
    """

    seconds = Integer(900, help="for the whole notebook").tag(config=True)
    cell_seconds = Integer(120, help="for one cell, which fails then").tag(config=True)
    memory = Integer(6 * 10**9, help="bytes that a process may write to").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        if REFUSED in nb.metadata:
            return fail(nb, nb.metadata[REFUSED]), resources
        names = resources["nbgrader"]
        files = Path("autograded") / names["student"] / names["assignment"]
        with guarded(Path.cwd(), names["student"]):
            executed = self.execute(nb, files)
        executed.metadata = nb.metadata  # a submission must not change its own status
        return executed, resources

    def execute(self, notebook: NotebookNode, files: Path) -> NotebookNode:
        """The notebook with its outputs, executed among copies of the other files in `files`.

        A kernel that does not start is started again up to twice. Raises NotGradedError if the
        execution takes more than `seconds`, if the kernel dies, or if the notebook that comes back
        is not the one that was sent.
        """
        for _ in range(KERNEL_STARTS - 1):
            with suppress(KernelStartError):
                return self.execute_once(notebook, files)
        return self.execute_once(notebook, files)

    def execute_once(self, notebook: NotebookNode, files: Path) -> NotebookNode:
        """`execute` with one start of the kernel, which may raise KernelStartError.

        Cache and home are new, empty folders. Afterwards its descendants and all that carries its
        mark are ended; a process that hides is not found.
        """
        mark = uuid.uuid4().hex
        with (
            tempfile.TemporaryDirectory(prefix="grading-", ignore_cleanup_errors=True) as temporary,
            tempfile.TemporaryFile() as log,
        ):
            home, source, target = (Path(temporary) / n for n in ("home", "in.ipynb", "out.ipynb"))
            # Contents alone: what nbgrader copied may only be read.
            notebooks = shutil.ignore_patterns("*.ipynb")
            shutil.copytree(files, home / "work", ignore=notebooks, copy_function=shutil.copyfile)
            nbformat.write(notebook, source)
            settings = {
                "CURE_CACHE": str(home / "cure_cache"), "IPYTHONDIR": str(home / "ipythondir"),
                "JUPYTER_RUNTIME_DIR": str(home / "runtime"), "HOME": str(home), MARK: mark,
                "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1",  # the same numbers every time
            }  # fmt: skip
            arguments = [str(source), str(target), str(self.cell_seconds), str(self.memory)]
            process = subprocess.Popen(
                [sys.executable, "-m", execute.__name__, *arguments],
                cwd=home / "work", env=os.environ | settings, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
            try:
                status = process.wait(self.seconds)
            except subprocess.TimeoutExpired as error:
                raise NotGradedError(f"it was not done after {self.seconds} seconds") from error
            finally:
                end_all(process, mark)
            if status == execute.NO_KERNEL:
                raise KernelStartError("its kernel did not start")
            if status != 0:
                log.seek(0)
                lines = log.read().decode(errors="replace").split("\n")
                last = next((line for line in reversed(lines) if line.strip()), status)
                raise NotGradedError(f"its execution broke off: {last}"[:500])
            try:
                executed = nbformat.read(target, as_version=4)
            except Exception as error:
                raise NotGradedError("what came back is not a notebook") from error
        return checked(executed, notebook)


def checked(executed: NotebookNode, sent: NotebookNode) -> NotebookNode:
    """`executed`, if its cells are those that were sent and every graded one was executed."""
    cells, expected = (
        [(c.cell_type, c.source, c.metadata.get("nbgrader")) for c in notebook.cells]
        for notebook in (executed, sent)
    )
    if cells != expected:
        raise NotGradedError("the notebook that came back is not the one that was sent")
    for cell in executed.cells:
        if is_grade(cell) and cell.cell_type == "code":
            if cell.execution_count is None and cell.source.strip():
                raise NotGradedError("not every graded cell was executed")
            # nbgrader takes anything on stderr for an error, even a warning
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return executed


def end_all(process: "subprocess.Popen[bytes]", mark: str) -> None:
    """End the process and its descendants, and whatever has its mark in its environment."""
    descendants: list[psutil.Process] = []
    with suppress(psutil.Error):
        descendants = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    for other in [*descendants, *psutil.process_iter()]:
        with suppress(psutil.Error, OSError):
            if other in descendants or other.environ().get(MARK) == mark:
                other.kill()


def fail(notebook: NotebookNode, reason: str) -> NotebookNode:
    """The notebook with an error that gives the reason in every graded code cell."""
    message = f"The submission was not graded: {reason}"
    error = {"ename": "NotGraded", "evalue": reason, "traceback": [message]}
    for cell in notebook.cells:
        if is_grade(cell) and cell.cell_type == "code":
            cell.outputs = [nbformat.v4.new_output("error", **error)]
    return notebook


@contextmanager
def guarded(course: Path, student: str) -> Iterator[None]:
    """Restore the gradebook and everyone's work if the block changes them.

    The changed gradebook is kept beside it, under the student's name. Raises NotGradedError then.
    """
    before = contents(course)
    changed: set[Path] = set()
    try:
        yield
    finally:
        changed = {path for path, _ in contents(course).items() ^ before.items()}
        for name in {path.parts[0] for path in changed}:
            restore(course, name, before, student)
    if changed:
        raise NotGradedError(f"it changed {', '.join(sorted(map(str, changed))[:3])} of the course")


def contents(course: Path) -> dict[Path, bytes | None]:
    """What each guarded file holds, and None for a folder, by its path in the course."""
    roots = [course / name for name in GUARDED]
    paths = [path for root in roots for path in (root, *sorted(root.rglob("*"))) if path.exists()]
    return {
        path.relative_to(course): None if path.is_dir() else path.read_bytes() for path in paths
    }


def restore(course: Path, name: str, before: dict[Path, bytes | None], student: str) -> None:
    """Put back the guarded file or folder `name`, whatever is there now."""
    path = course / name
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.is_file() and name == GUARDED[0]:
        path.replace(path.with_name(f"{name}.changed-by-{student}"))
    else:
        path.unlink(missing_ok=True)
    for path, content in before.items():
        if path.parts[0] != name:
            continue
        if content is None:
            (course / path).mkdir()
        else:
            (course / path).write_bytes(content)
