"""What a run is: a notebook with its parameters, and the versions its numbers follow from."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from cure_study.data.yaml_files import read_yaml
from cure_study.runner import parameters
from cure_study.runner.parameters import code_cells, declared

ROOT = Path(__file__).parents[2]
PACKAGES = ("cure_core", "cure_study")
NOTEBOOKS = ROOT / "notebooks"
RUNS = (ROOT if NOTEBOOKS.is_dir() else Path()) / "runs"  # of commands and open notebooks alike
OWN = ("out", "progress")  # parameters that a run sets itself, and that change no number


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
        return (path.relative_to(NOTEBOOKS) if NOTEBOOKS in path.parents else path.name).__str__()

    @cached_property
    def recipe(self) -> str:
        """What is asked, whatever the versions."""
        return _digest(self.notebook, self.parameters)

    @cached_property
    def version(self) -> str:
        """What is asked, and the versions it is asked of."""
        return _digest(self.recipe, self.versions)

    @property
    def name(self) -> str:
        """Of the run's folder."""
        stem = self.notebook.replace(os.sep, "-")
        return "-".join(filter(None, (stem, self.profile, self.version[:8])))

    def record(self) -> dict[str, Any]:
        """What is written beside the results."""
        kept = ("profile", "parameters", "versions")
        return {
            "notebook": self.notebook,
            **{name: value for name, value in asdict(self).items() if name in kept},
            "recipe": self.recipe,
            "version": self.version,
        }


def find_notebook(name: str, beside: Path | None = None) -> Path:
    """A notebook of the study by name, or any by the path of its `.ipynb` (from `beside`)."""
    if name.endswith(".ipynb"):
        path = ((beside or Path()) / name).resolve()
        if not path.is_file():
            raise FileNotFoundError(f"no notebook {path}")
        return path
    return _named(NOTEBOOKS / f"{name}.ipynb", ".ipynb")


def profile_path(notebook: str, profile: str) -> Path:
    """A notebook's profile: from its own folder of profiles where it has one, else the shared."""
    shared = NOTEBOOKS / "profiles"
    own = shared / notebook
    return (own if own.is_dir() else shared) / f"{profile}.yaml"


def read_profile(notebook: str, profile: str) -> dict[str, Any]:
    """The parameters of a notebook's profile, none for the empty name.

    Raises FileNotFoundError naming the profiles there are, ValueError for a file that is not a
    mapping in YAML.
    """
    return read_yaml(_named(profile_path(notebook, profile), ".yaml")) if profile else {}


def profile_parameters(source: Path, profile: str) -> dict[str, Any]:
    """The parameters of a notebook's profile, checked against what the notebook declares.

    Raises what `read_profile` raises, and ValueError for a name or value that does not fit.
    """
    given = read_profile(source.stem, profile)
    return with_changes(source, {}, given, f"{profile_path(source.stem, profile)}")


def with_changes(
    source: Path, given: Mapping[str, Any], changes: Mapping[str, Any], origin: str
) -> dict[str, Any]:
    """`given` with `changes` in their place, checked against what the notebook declares.

    `origin` is what an error calls the place of the changes. Raises ValueError for a name that the
    notebook does not declare, and for a value that does not fit, before any work.
    """
    defaults = declared(source)
    given = {**given, **parameters.check(source, changes, origin, defaults)}
    if NOTEBOOKS in source.parents:  # another notebook's `method` may be anything
        parameters.check_content(defaults | given, origin)
    return given


def _named(path: Path, kind: str) -> Path:
    if not path.is_file():
        known = sorted(p.name.removesuffix(kind) for p in path.parent.glob(f"*{kind}"))
        name = path.name.removesuffix(kind)
        hint = parameters.suggestion(name, known, f"there are {', '.join(known)}")
        raise FileNotFoundError(f"no {path.name} in {path.parent.name}/; {hint}")
    return path


def plan_run(source: Path, profile: str, given: Mapping[str, Any]) -> Run:
    """The run of a notebook with these parameters, by the code, data and weights as they are now.

    Raises what reading the data raises where it is missing or damaged.
    """
    given = {name: value for name, value in given.items() if name not in OWN}
    parameters = {n: v for n, v in (declared(source) | given).items() if n not in OWN}
    versions = {
        "notebook": notebook_version(source),
        "code": code_version(),
        **_data_versions(parameters),
    }
    return Run(str(source), profile, given, parameters, versions)


def notebook_version(source: Path) -> str:
    """A digest of a notebook's code: outputs, text and metadata change no number."""
    return _digest([cell["source"] for cell in code_cells(source)])


def code_version() -> str:
    """A digest of the bytes of every Python file of the packages."""
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    files = sorted((path.relative_to(ROOT).as_posix(), path) for path in paths)
    return _digest([(name, hashlib.sha256(path.read_bytes()).hexdigest()) for name, path in files])


def _data_versions(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Digests of the data set and the weights that the parameters name, empty for none."""
    data = weights = ""
    if name := parameters.get("dataset"):
        data = _fingerprint(name, json.dumps(parameters.get("dataset_options") or {}))
    if name := parameters.get("weights"):
        from cure_core.files import file_sha256
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
    """A short digest of plain values; the order of a mapping's keys does not count."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
