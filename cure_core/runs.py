"""What a run is: a notebook with its parameters, and the versions its numbers follow from."""

import ast
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import cache, cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
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
    return _named(NOTEBOOKS / f"{name}.ipynb")


def profile_path(notebook: str, profile: str) -> Path:
    """A notebook's profile: from its own folder of profiles where it has one, else the shared."""
    shared = NOTEBOOKS / "profiles"
    own = shared / notebook
    return (own if own.is_dir() else shared) / f"{profile}.yaml"


def read_profile(notebook: str, profile: str) -> dict[str, Any]:
    """The parameters of a notebook's profile. Raises FileNotFoundError naming those there are."""
    import yaml

    return yaml.safe_load(_named(profile_path(notebook, profile)).read_text()) or {}


def _named(path: Path) -> Path:
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob(f"*{path.suffix}")))
        raise FileNotFoundError(f"no {path.name} in {path.parent.name}/; there are {known}")
    return path


def declared(source: Path) -> dict[str, Any]:
    """The names that a notebook's parameters cell sets, with their defaults.

    What is no literal stays text.
    """
    defaults: dict[str, Any] = {}
    for cell in _code(source):
        if "parameters" not in cell["metadata"].get("tags", []):
            continue
        for line in ast.parse("".join(cell["source"])).body:
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
                try:
                    value = ast.literal_eval(line.value)
                except ValueError:
                    value = ast.unparse(line.value)
                defaults[line.targets[0].id] = value
    return defaults


def check_names(source: Path, names: Mapping[str, Any]) -> None:
    """Raise ValueError for what is no parameter of the notebook, with the nearest that is."""
    known = declared(source)
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "; its parameters cell names them"
            raise ValueError(f"{source.stem} has no parameter {name}{hint}")


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
    return _digest(["".join(cell["source"]) for cell in _code(source)])


def _code(source: Path) -> list[dict[str, Any]]:
    cells = json.loads(source.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def code_version() -> str:
    """A digest of every Python file of `cure_core`."""
    return _digest([path.read_text() for path in sorted(Path(__file__).parent.rglob("*.py"))])


def _data_versions(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Digests of the data set and the weights that the parameters name, empty for none."""
    data = weights = ""
    if name := parameters.get("dataset"):
        data = _fingerprint(name, json.dumps(parameters.get("dataset_options") or {}))
    if name := parameters.get("weights"):
        from cure_core.files import data_root, file_sha256

        path = data_root() / name
        if not path.is_file():
            raise FileNotFoundError(
                f"no weights at {path}; set CURE_DATA_ROOT if they lie elsewhere"
            )
        weights = file_sha256(path)[:16]
    return {"data": data, "weights": weights}


@cache
def _fingerprint(dataset: str, options: str) -> str:
    from cure_core import manifests

    return manifests.load(dataset, **json.loads(options)).fingerprint


def _digest(*parts: Any) -> str:
    """A short digest of plain values; the order of a mapping's keys does not count."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
