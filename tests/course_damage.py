"""What happens to a submission on its way to the teacher, and what it must still be worth."""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import nbformat

NONE, FIRST, SECOND, BOTH = (0, 0), (3, 0), (0, 2), (3, 2)  # the points of the toy lesson's tests


class Damage(NamedTuple):
    """A change to the file of a right submission, the points it keeps, and the status it gets."""

    inflict: Callable[[Path], object]
    points: tuple[int, int]
    status: str = "graded"


def rewritten(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """A change to the notebook's JSON, as one to its file."""

    def inflict(path: Path) -> None:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        change(notebook)
        path.write_text(json.dumps(notebook), encoding="utf-8")

    return inflict


def named(notebook: dict[str, Any], name: str) -> dict[str, Any]:
    """The cell of this name."""
    return next(c for c in notebook["cells"] if name_of(c) == name)


def name_of(cell: dict[str, Any]) -> str | None:
    return cell["metadata"].get("nbgrader", {}).get("grade_id")


def delete(*names: str) -> Callable[[Path], object]:
    """Delete the cells of these names."""

    def change(notebook: dict[str, Any]) -> None:
        notebook["cells"] = [c for c in notebook["cells"] if name_of(c) not in names]

    return rewritten(change)


def repeat(name: str, position: int) -> Callable[[Path], object]:
    """Put a copy of a cell, its id included, at a position."""
    return rewritten(lambda nb: nb["cells"].insert(position, copy.deepcopy(named(nb, name))))


def rename(*names: str) -> Callable[[Path], object]:
    """Keep copies under these names alone."""

    def inflict(path: Path) -> None:
        for name in names:
            (path.parent / name).parent.mkdir(exist_ok=True)
            shutil.copy(path, path.parent / name)
        path.unlink()

    return inflict


def without_ids(notebook: dict[str, Any]) -> None:
    """As nbformat 4.4 has it."""
    notebook["nbformat_minor"] = 4
    for cell in notebook["cells"]:
        del cell["id"]


def without_metadata(notebook: dict[str, Any]) -> None:
    """As an editor saves it that keeps nothing but the cells' sources."""
    without_ids(notebook)
    notebook["metadata"] = {}
    for cell in notebook["cells"]:
        cell["metadata"] = {}
        cell["source"] = "".join(cell["source"]) + "  \n"


def only_names(notebook: dict[str, Any]) -> None:
    for cell in notebook["cells"]:
        cell["metadata"] = {"nbgrader": {"grade_id": name_of(cell)}, "tags": 3}


def into_markdown(notebook: dict[str, Any]) -> None:
    for name in ("first", "test_first"):
        cell = named(notebook, name)
        cell["cell_type"] = "markdown"
        del cell["outputs"], cell["execution_count"]


def other_lesson(notebook: dict[str, Any]) -> None:
    notebook["cells"] = [{"cell_type": "code", "metadata": {}, "source": "1 + 1"}]


def easier_tests(notebook: dict[str, Any]) -> None:
    named(notebook, "first")["source"] = "def double(x):\n    return 2"
    named(notebook, "test_first")["source"] = "pass"
    named(notebook, "test_second")["metadata"]["nbgrader"]["points"] = 100


def old_format(path: Path) -> None:
    rewritten(without_metadata)(path)
    old = nbformat.convert(nbformat.read(path, as_version=4), 3)
    path.write_text(nbformat.writes(old, version=3), encoding="utf-8")


def into_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def write(text: str, encoding: str = "utf-8") -> Callable[[Path], object]:
    return lambda path: path.write_text(text, encoding=encoding)


def again(encoding: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(path.read_text(encoding="utf-8"), encoding=encoding)


DAMAGE = {
    "none": Damage(lambda path: None, BOTH),
    "José Ñandú": Damage(lambda path: None, BOTH),
    "Jose\u0301 in another form": Damage(lambda path: None, BOTH),
    "O'Brien, Ann": Damage(lambda path: None, BOTH),
    "download": Damage(rename("toy (1).ipynb"), BOTH),
    "jupyter's copy": Damage(rename("toy-Copy1.ipynb"), BOTH),
    "free name": Damage(rename("Übung final.ipynb"), BOTH),
    "two downloads": Damage(rename("toy (1).ipynb", "toy (2).ipynb"), NONE, "failed"),
    "spare copy": Damage(lambda path: shutil.copy(path, path.with_name("old.ipynb")), BOTH),
    "repeated test": Damage(repeat("test_first", 4), BOTH),
    "test repeated before": Damage(repeat("test_first", 0), BOTH),
    "repeated answer": Damage(repeat("first", 4), BOTH),
    "no test": Damage(delete("test_first"), BOTH),
    "no tests": Damage(delete("test_first", "test_second"), BOTH),
    "no exercise": Damage(delete("first", "test_first"), SECOND),
    "first answer alone": Damage(delete("test_first", "second", "test_second"), FIRST),
    "nbformat 4.4": Damage(rewritten(without_ids), BOTH),
    "other editor": Damage(rewritten(without_metadata), BOTH),
    "nbformat 3": Damage(old_format, BOTH),
    "names alone": Damage(rewritten(only_names), BOTH),
    "byte order mark": Damage(again("utf-8-sig"), BOTH),
    "markdown": Damage(rewritten(into_markdown), BOTH),
    "half a character": Damage(
        rewritten(lambda nb: nb["cells"].append({"cell_type": "raw", "source": ["\ud800"]})), BOTH
    ),
    "easier tests": Damage(rewritten(easier_tests), SECOND),
    "cut off": Damage(lambda path: path.write_bytes(path.read_bytes()[:-30]), NONE, "failed"),
    "empty": Damage(write(""), NONE, "failed"),
    "web page": Damage(write("<html></html>"), NONE, "failed"),
    "list": Damage(write("[1, 2]"), NONE, "failed"),
    "cells of text": Damage(write('{"cells": ["a"]}'), NONE, "failed"),
    "UTF-16": Damage(again("utf-16"), NONE, "failed"),
    "other lesson": Damage(rewritten(other_lesson), NONE, "failed"),
    "folder": Damage(into_folder, NONE, "failed"),
}
# nbgrader passes these over, so that only the table of grades names them.
PASSED_OVER = {
    "script": rename("toy.py"),
    "unpacked": rename("toy/toy.ipynb"),
    "brackets [2]": lambda path: None,
    "folder renamed": lambda path: path.parent.rename(path.parent.with_name("toy (1)")),
}
