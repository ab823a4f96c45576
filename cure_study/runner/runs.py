"""What a run is: a notebook with its parameters, and the versions its numbers follow from."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from cure_core.checks import nearest
from cure_core.files import digest, file_sha256
from cure_study.code_version import ROOT, code_version, resolve
from cure_study.data.yaml_files import read_yaml
from cure_study.runner.parameters import (
    check_content,
    check_types,
    code_cells,
    declared,
)

NOTEBOOKS = ROOT / "notebooks"
RUNS = (ROOT if NOTEBOOKS.is_dir() else Path()) / "runs"  # of commands and open notebooks alike
FROM = re.compile(r"\bfrom (cure_\w[\w.]*) import (\([^)]*\)|(?:\\\n|[^\n;])*)")
IMPORT = re.compile(r"\bimport (cure_\w[\w.]*)")
SET_BY_RUN = ("out", "progress")  # parameters that a run sets, and that change no number


@dataclass(frozen=True, eq=False)
class Run:
    """A notebook with its parameters and the versions of all that its numbers follow from.

    `given` is what differs from the notebook's defaults, `parameters` holds those too; `versions`
    are digests of `notebook`, `code`, `data` and `weights`, empty where there is none.
    """

    source: str
    profile: str
    given: Mapping[str, Any]
    parameters: Mapping[str, Any]
    versions: Mapping[str, str]

    @property
    def notebook(self) -> str:
        """The notebook's path below `notebooks/`, or its name where it lies elsewhere."""
        path = Path(self.source).with_suffix("")
        return str(path.relative_to(NOTEBOOKS)) if NOTEBOOKS in path.parents else path.name

    @cached_property
    def recipe(self) -> str:
        """A digest of notebook and parameters, without the versions."""
        return _digest(self.notebook, self.parameters)

    @cached_property
    def version(self) -> str:
        """A digest of the recipe and the versions."""
        return _digest(self.recipe, self.versions)

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        stem = self.notebook.replace(os.sep, "-")
        return "-".join(filter(None, (stem, self.profile, self.version[:8])))

    def record(self) -> dict[str, Any]:
        """What is written beside the results."""
        names = ("notebook", "profile", "parameters", "versions", "recipe", "version")
        return {name: getattr(self, name) for name in names}


def find_notebook(name: str, folder: Path | None = None) -> Path:
    """A notebook of the study by name, or any by the path of its `.ipynb`, relative to `folder`."""
    if not name.endswith(".ipynb"):
        return _existing(NOTEBOOKS / f"{name}.ipynb")
    path = ((folder or Path()) / name).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"no notebook {path}")
    return path


def profile_path(notebook: str, profile: str) -> Path:
    """A notebook's profile: from the notebook's folder of profiles if it has one, else shared."""
    shared = NOTEBOOKS / "profiles"
    folder = shared / notebook
    return (folder if folder.is_dir() else shared) / f"{profile}.yaml"


def read_profile(notebook: str, profile: str) -> dict[str, Any]:
    """The parameters of a notebook's profile, none for the empty name.

    Raises FileNotFoundError naming the profiles there are, ValueError for a file that is not a
    mapping in YAML.
    """
    return read_yaml(_existing(profile_path(notebook, profile))) if profile else {}


def profile_parameters(
    source: Path, profile: str, changes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The parameters of a notebook's profile with those of the command line, all checked.

    Raises what `read_profile` raises, and ValueError for a name or value that does not fit.
    """
    given = read_profile(source.stem, profile)
    given = with_changes(source, {}, given, f"{profile_path(source.stem, profile)}")
    return with_changes(source, given, changes or {}, "--set")


def with_changes(
    source: Path, given: Mapping[str, Any], changes: Mapping[str, Any], origin: str
) -> dict[str, Any]:
    """`given` updated by `changes`, which are checked against what the notebook declares.

    `origin` is what an error calls the place of the changes. Raises ValueError for a name that the
    notebook does not declare, and for a value that does not fit, before any work.
    """
    defaults = declared(source)
    given = {**given, **check_types(f"{origin}: {source.stem}", changes, defaults)}
    if NOTEBOOKS in source.parents:  # another notebook's `method` may be anything
        check_content(defaults | given, origin)
    return given


def _existing(path: Path) -> Path:
    if not path.is_file():
        known = sorted(other.stem for other in path.parent.glob(f"*{path.suffix}"))
        hint = nearest(path.stem, known)
        raise FileNotFoundError(f"no {path.name} in {path.parent.name}/; {hint}")
    return path


def plan_run(source: Path, profile: str, given: Mapping[str, Any]) -> Run:
    """The run of a notebook with these parameters, by the code, data and weights as they are now.

    Raises what reading the data raises where it is missing or damaged.
    """
    given = {name: value for name, value in given.items() if name not in SET_BY_RUN}
    parameters = {n: v for n, v in (declared(source) | given).items() if n not in SET_BY_RUN}
    versions = {**source_versions(source), **_data_versions(parameters)}
    return Run(str(source), profile, given, parameters, versions)


def notebook_version(source: Path) -> str:
    """A digest of a notebook's code: outputs, text and metadata change no number."""
    return _digest([cell["source"] for cell in code_cells(source)])


def source_versions(source: Path) -> dict[str, str]:
    """The versions of a notebook's code and of the package code that it imports."""
    return {"notebook": notebook_version(source), "code": code_version(*_imports(source))}


def _imports(source: Path) -> set[str]:
    """The modules of the packages that a notebook imports, in magics too."""
    text = "\n".join(cell["source"] for cell in code_cells(source))
    names = [f"{m[1]}.{name}" for m in FROM.finditer(text) for name in re.findall(r"\w+", m[2])]
    return resolve(names + IMPORT.findall(text))


def _data_versions(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Digests of the data set and the weights that the parameters name, empty for none."""
    data = weights = ""
    if name := parameters.get("dataset"):
        data = _fingerprint(name, json.dumps(parameters.get("dataset_options") or {}))
    if name := parameters.get("weights"):
        from cure_study.paths import data_root

        path = data_root() / name
        if not path.is_file():
            raise FileNotFoundError(
                f"no weights at {path}; set CURE_DATA_ROOT if they lie elsewhere"
            )
        weights = file_sha256(path)[:16]
    return {"data": data, "weights": weights}


@cache
def _fingerprint(dataset: str, options: str) -> str:
    from cure_study.data import manifests

    return manifests.load(dataset, **json.loads(options)).fingerprint


def _digest(*parts: Any) -> str:
    """A short digest of plain values; the order of a mapping's keys does not matter."""
    return digest(json.dumps(parts, sort_keys=True, default=str))
