"""The version of the code that a result depends on: what its modules import, and nothing else."""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("cure_core", "cure_study")


def code_version(*modules: str) -> str:
    """A digest of `modules` and of all that they import, directly or not, from the two packages.

    Comments, docstrings and formatting do not change it. Raises ModuleNotFoundError for a module
    that is not in the packages.
    """
    found: dict[str, str] = {}
    pending = list(modules)
    while pending:
        module = pending.pop()
        if module not in found:
            path = _find(module)
            if path is None:
                raise ModuleNotFoundError(f"no module {module} in {' or '.join(PACKAGES)}")
            stat = path.stat()
            found[module], names = _read(path, stat.st_mtime_ns, stat.st_size)
            pending += resolve(names)
    text = "\0".join(f"{module}\0{code}" for module, code in sorted(found.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def resolve(names: Iterable[str]) -> set[str]:
    """The modules of the two packages that hold imported names, such as `cure_core.losses.x`.

    A package's own code counts only if a name is imported from it.
    """
    found: set[str] = set()
    for module in names:
        if module.partition(".")[0] in PACKAGES:
            while "." in module and _find(module) is None:
                module = module.rpartition(".")[0]
            found.add(module)
    return found


@cache
def _read(path: Path, modified: int, size: int) -> tuple[str, frozenset[str]]:
    """A digest of a module's code, and the names it imports; read again once the file changes."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    code = ast.dump(_without_docstrings(tree))
    return hashlib.sha256(code.encode()).hexdigest(), frozenset(_imported_names(tree))


def _imported_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _find(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    candidates = path.with_suffix(".py"), path / "__init__.py"
    return next((file for file in candidates if file.is_file()), None)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            match node.body:
                case [ast.Expr(ast.Constant(str())), *rest]:
                    node.body = rest or [ast.Pass()]
    return tree
