"""The student's version of a lesson."""

import copy

from nbformat import NotebookNode

STUB = "# Write your code here.\nraise NotImplementedError"


def released(notebook: NotebookNode) -> NotebookNode:
    """The lesson without solutions and hidden tests, cell by cell, as nbgrader hands it out."""
    from nbgrader.preprocessors import ClearHiddenTests, ClearSolutions

    page = copy.deepcopy(notebook)
    for step in (ClearSolutions(code_stub={"python": STUB}), ClearHiddenTests()):
        page, _ = step.preprocess(page, {"language": "python"})
    return page
