"""Many runs as one study: notebooks x parameters x seeds, read from a YAML file and checked.

study = batch.read("notebooks/studies/overnight.yaml")
plan = study.plan()
"""

import itertools
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    StrictInt,
    ValidationError,
    model_validator,
)

from cure_study.data.yaml_files import read_yaml, validation_message
from cure_study.runner import runs
from cure_study.runner.parameters import unique
from cure_study.runner.runs import Run

SEED_NAMES = ("seed", "seeds")
DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h)")
UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def _seconds(value: Any) -> float | None:
    """The seconds of a duration such as "30 min"; None for none."""
    if value is None:
        return None
    found = DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or not float(found[1]):
        raise ValueError("write a time such as 90 s, 30 min or 2 h")
    return float(found[1]) * UNITS[found[2]]


class Study(BaseModel):
    """What a study's file says; `name` and `folder` are the file's.

    notebooks: names of the project's notebooks, or paths of others
    profile: the parameters to start from, of `notebooks/profiles`
    parameters: changes to the profile, the same for all runs
    grid: lists of values by parameter; every combination is run
    runs: in place of `grid`, a list of parameter sets
    seeds: each combination is run with each
    cores: processor cores of each run
    memory: limit of each run, as in 4 GB; a run that takes more is ended and has failed
    timeout: limit of each run, as in 90 s, 30 min or 2 h; a run that takes longer is ended and has
        failed
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    notebooks: Annotated[list[str], Field(min_length=1), AfterValidator(unique)]
    profile: str = ""
    parameters: dict[str, Any] = {}
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field({}, min_length=1)
    runs: list[dict[str, Any]] = Field([], min_length=1)
    seeds: Annotated[list[StrictInt], Field(min_length=1), AfterValidator(unique)] = []
    cores: int = Field(1, ge=1)
    memory: Annotated[ByteSize, Field(gt=0)] = ByteSize(2 * 10**9)
    timeout: Annotated[float | None, BeforeValidator(_seconds)] = None
    name: str
    folder: Path

    @model_validator(mode="after")
    def _each_parameter_once(self) -> "Study":
        if self.grid and self.runs:
            raise ValueError("it has both `grid` and `runs`; give one of them")
        named = [("parameters", name) for name in self.parameters]
        named += [("grid", name) for name in self.grid]
        named += [("runs", name) for run in self.runs for name in run]
        for field, name in named:
            if name in runs.SET_BY_RUN:
                raise ValueError(f"`{field}` sets {name}, which each run sets; leave it out")
            if name in SEED_NAMES and self.seeds:
                raise ValueError(f"`{field}` sets {name}, and `seeds` too; keep one of them")
            if field != "parameters" and name in self.parameters:
                raise ValueError(f"{name} is both in `parameters` and in `{field}`; keep one")
        return self

    def conditions(self) -> list[dict[str, Any]]:
        """The parameters of every run, without notebook and seed."""
        combinations = itertools.product(*self.grid.values())
        chosen = self.runs or [dict(zip(self.grid, c, strict=True)) for c in combinations]
        return [self.parameters | condition for condition in chosen]

    def plan(self) -> list[Run]:
        """Every run, seeds innermost, by code, data and weights as they are now.

        Raises FileNotFoundError or ValueError for what cannot be run: an unknown notebook or
        profile, a parameter that a notebook does not declare or a value that does not fit it, two
        equal runs, missing data.
        """
        file = f"{self.folder / self.name}.yaml"
        planned: dict[str, Run] = {}
        for name in self.notebooks:
            source = runs.find_notebook(name, self.folder)
            profile = runs.profile_parameters(source, self.profile)
            for condition, seed in itertools.product(self.conditions(), self._seeds_of(source)):
                given = runs.with_changes(source, profile, condition | seed, file)
                run = runs.plan_run(source, self.profile, given)
                if run.recipe in planned:
                    raise ValueError(
                        f"{self.name} has one run twice: {run.notebook} with "
                        f"{describe(run.given) or 'its defaults'}; drop one, or let them differ"
                    )
                planned[run.recipe] = run
        return list(planned.values())

    def _seeds_of(self, source: Path) -> list[dict[str, Any]]:
        """The parameters that give a notebook each seed in turn."""
        declared = runs.declared(source)
        if not self.seeds:
            return [{}]
        if "seed" in declared:
            return [{"seed": seed} for seed in self.seeds]
        if "seeds" in declared:
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
    fields = read_yaml(path) | {"name": path.stem, "folder": path.resolve().parent}
    try:
        return Study.model_validate(fields)
    except ValidationError as error:
        known = sorted(Study.model_fields.keys() - {"name", "folder"})
        raise ValueError(f"{path}: {validation_message(error, known)}") from None


def describe(parameters: Mapping[str, Any]) -> str:
    """Parameters in a line."""
    return ", ".join(f"{name}={as_text(value)}" for name, value in parameters.items())


def as_text(value: Any) -> str:
    """A parameter's value as YAML would have it, on one line."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def differing(parameters: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of parameters that differ between runs, seeds last."""
    parameters = list(parameters)
    names = {name for values in parameters for name in values}
    found = [name for name in names if len({as_text(p.get(name)) for p in parameters}) > 1]
    return sorted(found, key=lambda name: (name in SEED_NAMES, name))
