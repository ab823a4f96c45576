"""The settings reference, from the notebooks' parameters and the docstrings of the settings."""

import inspect
import re
from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import partial
from typing import Any

import nbformat
import pandas as pd

from cure_core.config import CureConfig
from cure_core.training.arcface import Recipe
from cure_study.runner.batch.study import Study
from cure_study.runner.runs import find_notebook
from page_tables.rows import ROOT

PARAMETER = re.compile(r"^(\w+) = (.*?)(?:  # (.*))?$")
ENTRY = re.compile(r"^(\w+(?:, \w+)*): (.*)$")


def parameters(notebook: str) -> pd.DataFrame:
    """The parameters of a notebook with their defaults and comments."""
    cells = nbformat.read(find_notebook(notebook), as_version=4).cells
    cell = next(c for c in cells if "parameters" in c.metadata.get("tags", ()))
    found = [PARAMETER.match(line) for line in cell.source.splitlines()]
    return pd.DataFrame(
        {"parameter": f"`{m[1]}`", "default": f"`{m[2]}`", "meaning": _plain(m[3] or "")}
        for m in found
        if m
    )


def of_dataclass(kind: Any) -> pd.DataFrame:
    """The fields of a settings class with their defaults, and what its docstring says of them."""
    said = _described(inspect.getdoc(kind) or "")
    lines = []
    for item in fields(kind):
        default = {} if item.default is MISSING else item.default
        meaning = _plain(said[item.name])
        lines.append({"setting": f"`{item.name}`", "default": f"`{default}`", "meaning": meaning})
    return pd.DataFrame(lines)


def batch_study() -> pd.DataFrame:
    """The fields of a study's file."""
    said = _described(inspect.getdoc(Study) or "")
    return pd.DataFrame(
        {
            "field": f"`{name}`",
            "required": "yes" if item.is_required() else "",
            "meaning": _plain(said[name]),
        }
        for name, item in Study.model_fields.items()
        if name not in ("name", "folder")
    )


def _described(docstring: str) -> dict[str, str]:
    """The lines `name: meaning` of a docstring, with what is indented below them."""
    said: dict[str, str] = {}
    names: list[str] = []
    for line in docstring.splitlines():
        if found := ENTRY.match(line):
            names = found[1].split(", ")
            said |= dict.fromkeys(names, found[2])
        elif line.startswith("    ") and names:
            said |= {name: f"{said[name]} {line.strip()}" for name in names}
        else:
            names = []
    return said


def _plain(text: str) -> str:
    return text.replace("|", "\\|")


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    **{
        f"parameters-{path.stem[:2]}": partial(parameters, path.stem)
        for path in sorted((ROOT / "notebooks").glob("0*.ipynb"))
    },
    "settings-unlearning": partial(of_dataclass, CureConfig),
    "settings-teacher": partial(of_dataclass, Recipe),
    "settings-batch": batch_study,
}
