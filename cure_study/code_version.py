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
    return _version(tuple(sorted(set(modules))), ROOT)


@cache
def _version(modules: tuple[str, ...], root: Path) -> str:
    found: dict[str, str] = {}
    pending = list(modules)
    while pending:
        module = pending.pop()
        if module not in found:
            tree = ast.parse(_path(module, root).read_text(encoding="utf-8"))
            pending += imported_modules(tree, root)
            found[module] = ast.dump(_without_docstrings(tree))
    text = "\0".join(f"{module}\0{code}" for module, code in sorted(found.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def imported_modules(tree: ast.AST, root: Path = ROOT) -> set[str]:
    """The modules of the two packages that code imports; not the packages that hold them.

    A package's own code counts where a name is imported from it.
    """
    found: set[str] = set()
    for name in _imported_names(tree):
        module = name
        while module and not _exists(module, root):
            module = module.rpartition(".")[0]
        if module.partition(".")[0] in PACKAGES:
            found.add(module)
    return found


def _imported_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _candidates(module: str, root: Path) -> Iterable[Path]:
    path = root.joinpath(*module.split("."))
    return path.with_suffix(".py"), path / "__init__.py"


def _exists(module: str, root: Path) -> bool:
    return any(path.is_file() for path in _candidates(module, root))


def _path(module: str, root: Path) -> Path:
    for path in _candidates(module, root):
        if path.is_file():
            return path
    raise ModuleNotFoundError(f"no module {module} in {' or '.join(PACKAGES)}")


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            match node.body:
                case [ast.Expr(ast.Constant(str())), *rest]:
                    node.body = rest or [ast.Pass()]
    return tree
