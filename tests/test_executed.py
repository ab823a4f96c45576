"""The executed notebooks: their cells are today's, every code cell ran, and they fit a web page."""

import re
import runpy
import socket
from functools import cache
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
LARGEST = 2 * 10**6  # bytes
ENCODED = re.compile(r"[A-Za-z0-9+/=]{100,}")  # images


@cache
def module():
    return runpy.run_path(str(ROOT / "docs" / "executed.py"))


SOURCES = [
    *sorted((ROOT / "notebooks").glob("0*.ipynb")),
    *sorted((ROOT / "notebooks" / "course" / "source").glob("*/*.ipynb")),
]
each = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def executed(source):
    folder = ROOT / "notebooks" / "executed"
    path = (
        folder / source.name
        if source.parent.name == "notebooks"
        else folder / "course" / source.name
    )
    assert path.is_file(), f"no {path.relative_to(ROOT)}; run `make executed`"
    return path


@each
def test_the_cells_of_an_executed_notebook_are_todays(source):
    """Otherwise run `make executed`."""
    shown = nbformat.read(executed(source), as_version=4).cells
    today = module()["page"](source).cells
    assert [(c.cell_type, c.source) for c in shown] == [(c.cell_type, c.source) for c in today]


@each
def test_every_code_cell_ran_without_an_error(source):
    cells = [
        c for c in nbformat.read(executed(source), as_version=4).cells if c.cell_type == "code"
    ]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]


@each
def test_an_executed_notebook_is_small_and_names_no_machine(source):
    path = executed(source)
    assert path.stat().st_size < LARGEST
    text = ENCODED.sub("", path.read_text(encoding="utf-8"))
    for place in (str(ROOT), f"{Path.home()}/", "/tmp/"):
        assert place not in text
    assert not re.search(rf"\b{re.escape(socket.gethostname())}\b", text)


def test_nothing_else_is_there():
    folder = ROOT / "notebooks" / "executed"
    assert {path.name for path in folder.rglob("*.ipynb")} == {path.name for path in SOURCES}


def test_outputs_without_a_page_are_left_out():
    static = module()["_static"]
    stream = nbformat.v4.new_output("stream", name="stderr", text="a warning")
    bar = nbformat.v4.new_output(
        "display_data",
        data={"application/vnd.jupyter.widget-view+json": {}, "text/plain": " 50%|#### |"},
    )
    assert static(stream, 1) is None
    assert static(bar, 1) is None
    text = nbformat.v4.new_output("stream", name="stdout", text=f"{ROOT}/runs <X at 0x7f00>")
    assert static(text, 1).text == "runs <X>"
