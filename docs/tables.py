"""Write the tables of the pages that come from the CSV files in `figures/`.

Usage: python docs/tables.py. In README.md and docs/*.md a table stands between
`<!-- table: NAME -->` and `<!-- end of table -->`; NAME is a key of `TABLES` in a module of
`docs/page_tables`.
"""

import importlib
import pkgutil
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from cure_core.files import atomic_path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MARKED = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end of table -->\n)", re.DOTALL)


def collect() -> dict[str, Callable[[], pd.DataFrame]]:
    """The tables of all modules of `page_tables`. Raises ValueError for a name used twice."""
    folder = ROOT / "docs" / "page_tables"
    if str(folder.parent) not in sys.path:
        sys.path.insert(0, str(folder.parent))
    tables: dict[str, Callable[[], pd.DataFrame]] = {}
    for module in pkgutil.iter_modules([str(folder)]):
        found = getattr(importlib.import_module(f"page_tables.{module.name}"), "TABLES", {})
        if twice := tables.keys() & found.keys():
            raise ValueError(f"{module.name} has tables of another module: {sorted(twice)}")
        tables |= found
    return tables


TABLES = collect()


def markdown(table: pd.DataFrame) -> str:
    lines = [table.columns, ["---"] * table.shape[1], *table.to_numpy()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def with_tables(text: str, path: Path) -> str:
    """The text of the page at `path` with its tables written again.

    A link in a table is relative to the repository's root, and is made relative to the page.
    """
    prefix = "docs/" if path.parent == ROOT else ""

    def written(match: re.Match[str]) -> str:
        table = markdown(TABLES[match[2]]()).replace("](docs/", f"]({prefix}")
        return match[1] + table + match[4]

    return MARKED.sub(written, text)


def main() -> None:
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        if (written := with_tables(text, path)) != text:
            with atomic_path(path) as temporary:
                temporary.write_text(written, encoding="utf-8")
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
