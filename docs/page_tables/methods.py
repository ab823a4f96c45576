"""The catalogue of methods, from their docstrings."""

import inspect
import re
from collections.abc import Callable

import pandas as pd

from cure_core.objectives.registry import METHODS
from cure_study.experiments.comparison.methods import LABELS
from page_tables.rows import label

ARXIV = re.compile(r"(?:arXiv:)?(\d{4}\.\d{5})")


def catalogue() -> pd.DataFrame:
    """Each method with its idea, its source and what makes it label-free."""
    lines = []
    for name in sorted(METHODS, key=list(LABELS).index):
        method = METHODS[name]
        paragraphs = _parts(inspect.getdoc(method) or "")
        file = method.__module__.rpartition(".")[2]
        lines.append(
            {
                "method": f"{label(name)}<br>`{name}`",
                "idea": paragraphs["idea"],
                "source": ARXIV.sub(r"[\1](https://arxiv.org/abs/\1)", paragraphs["source"]),
                "without labels": paragraphs["without labels"],
                "file": f"[{file}.py](../cure_core/objectives/{file}.py)",
            }
        )
    return pd.DataFrame(lines)


def _parts(docstring: str) -> dict[str, str]:
    """The first line, and the paragraphs that begin with "Without labels:" and "Source:"."""
    idea = docstring.split("\n", 1)[0]
    parts = {"idea": idea, "without labels": "", "source": ""}
    for key, marker in (("without labels", "Without labels:"), ("source", "Source:")):
        _, found, rest = docstring.partition(marker)
        text = re.split(r"\n(?=Source:|Other changes:)|Other changes:", rest)[0] if found else ""
        parts[key] = " ".join(text.split()).replace("|", "\\|")
    return parts


TABLES: dict[str, Callable[[], pd.DataFrame]] = {"methods": catalogue}
