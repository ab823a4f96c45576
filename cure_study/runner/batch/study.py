"""Many runs as one study: notebooks x parameters x seeds, read from a YAML file and checked.

notebooks: [02_unlearning]
profile: tiny                    # parameters to start from, in notebooks/profiles
parameters: {n_bootstrap: 100}   # shared by all runs
grid: {method: [cure, cure_plus]}  # every combination; or `runs:`, a list of parameters
seeds: [0, 1, 2]
cores: 1                         # of each run
memory: 2 GB                     # of each run: one that takes more is ended, and has failed

study = batch.read("seeds.yaml")
plan = study.plan()
"""

import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ByteSize, ConfigDict, Field, StrictInt
from pydantic import ValidationError as Invalid

from cure_study.data.yaml_files import read_yaml
from cure_study.runner import runs
from cure_study.runner.parameters import suggestion
from cure_study.runner.runs import Run

SEED_NAMES = ("seed", "seeds")


class Study(BaseModel):
    """What a study's file says; `name` and `folder` are the file's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    notebooks: list[str] = Field(min_length=1)
    profile: str = ""
    parameters: dict[str, Any] = {}
    grid: dict[str, list[Any]] = {}
    runs: list[dict[str, Any]] = []
    seeds: list[StrictInt] = []
    cores: int = Field(1, ge=1)
    memory: Annotated[ByteSize, Field(gt=0)] = ByteSize(2 * 10**9)
    name: str
    folder: Path

    def conditions(self) -> list[dict[str, Any]]:
        """The parameters of every run but for notebook and seed."""
        chosen = self.runs or [
            dict(zip(self.grid, values, strict=True))
            for values in itertools.product(*self.grid.values())
        ]
        return [self.parameters | own for own in chosen]

    def plan(self) -> list[Run]:
        """Every run, seeds innermost, by code, data and weights as they are now.

        Raises FileNotFoundError or ValueError for what cannot be run: an unknown notebook or
        profile, a parameter that a notebook does not declare or a value that does not fit it, one
        run asked for twice, missing data.
        """
        sources = [runs.find_notebook(name, self.folder) for name in self.notebooks]
        file = f"{self.folder / self.name}.yaml"
        profiles = {source: runs.profile_parameters(source, self.profile) for source in sources}
        plan = [
            runs.plan_run(
                source,
                self.profile,
                runs.with_changes(source, profiles[source], own | seed, file),
            )
            for source in sources
            for own in self.conditions()
            for seed in self._seeded(source)
        ]
        seen: dict[str, Run] = {}
        for run in plan:
            if run.recipe in seen:
                raise ValueError(
                    f"{self.name} asks for one run twice: {run.notebook} with "
                    f"{told(run.given) or 'its defaults'}; drop one, or let them differ"
                )
            seen[run.recipe] = run
        return plan

    def _seeded(self, source: Path) -> list[dict[str, Any]]:
        if not self.seeds:
            return [{}]
        known = runs.declared(source)
        if "seed" in known:
            return [{"seed": seed} for seed in self.seeds]
        if "seeds" in known:
            return [{"seeds": [seed]} for seed in self.seeds]
        raise ValueError(
            f"{source.stem} declares neither seed nor seeds; leave `seeds` out of {self.name}, or "
            "declare one in its parameters cell"
        )


def read(path: str | Path) -> Study:
    """A study from its YAML file.

    Raises FileNotFoundError, and ValueError naming each field that is wrong, its value and what
    to do.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no study {path}; {runs.NOTEBOOKS / 'studies'} holds an example")
    fields = read_yaml(path)
    try:
        study = Study.model_validate({**fields, "name": path.stem, "folder": path.resolve().parent})
    except Invalid as error:
        raise ValueError(f"{path}: {_wrong(error)}") from None
    for problem in _problems(study):
        raise ValueError(f"{path}: {problem}")
    return study


def told(parameters: Mapping[str, Any]) -> str:
    """Parameters in a line."""
    return ", ".join(f"{name}={shown(value)}" for name, value in parameters.items())


def shown(value: Any) -> str:
    """A parameter's value as it would stand in YAML, on one line."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def varying(parameters: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names in which some parameters differ, seeds last."""
    parameters = list(parameters)
    names = {name for own in parameters for name in own}
    differing = [n for n in names if len({shown(own.get(n)) for own in parameters}) > 1]
    return sorted(differing, key=lambda name: (name in SEED_NAMES, name))


def _problems(study: Study) -> list[str]:
    """What no type can tell."""
    problems = []
    if study.grid and study.runs:
        problems.append("it has both `grid` and `runs`; give one of them")
    for field in ("grid", "runs", "seeds"):
        if field in study.model_fields_set and not getattr(study, field):
            problems.append(f"`{field}` is empty; fill it, or leave it out")
    for name, values in study.grid.items():
        if not values:
            problems.append(f"`grid.{name}` is empty; give it a value, or leave it out")
    for what, names in (("seeds", [*map(str, study.seeds)]), ("notebooks", study.notebooks)):
        for name in sorted({name for name in names if names.count(name) > 1}):
            problems.append(f"`{what}` names {name} more than once; name each once")
    given = [("parameters", study.parameters), ("grid", study.grid)]
    given += [("runs", own) for own in study.runs]
    for place, parameters in given:
        for name in parameters:
            if name in runs.OWN:
                problems.append(f"`{place}` sets {name}, which each run sets itself; leave it out")
            if name in SEED_NAMES and study.seeds:
                problems.append(f"`{place}` sets {name} beside `seeds`; keep one of them")
            if place != "parameters" and name in study.parameters:
                problems.append(f"{name} is both in `parameters` and in `{place}`; keep one")
    return problems


def _wrong(error: Invalid) -> str:
    """Each field that is wrong, with its value and what is allowed."""
    messages = []
    for wrong in error.errors():
        field = ".".join(map(str, wrong["loc"]))
        if wrong["type"] == "extra_forbidden":
            known = sorted(Study.model_fields.keys() - {"name", "folder"})
            hint = suggestion(field, known, f"it has {', '.join(known)}")
            messages.append(f"`{field}` is no field of a study; {hint}")
        elif wrong["type"] == "missing":
            messages.append(f"`{field}` is missing")
        else:
            messages.append(f"`{field}` is {wrong['input']!r}: {wrong['msg']}")
    return "; ".join(messages)
