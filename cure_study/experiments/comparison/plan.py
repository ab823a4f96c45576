"""What the comparison runs: `notebooks/comparison.yaml`, checked before anything is trained."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, model_validator
from pydantic import ValidationError as Invalid

from cure_core.config import CureConfig
from cure_study.data.requests import REQUESTS
from cure_study.data.yaml_files import read_yaml, validation_message
from cure_study.experiments.comparison.methods import SECOND_ORACLE, base_method

PLAN = Path(__file__).parents[3] / "notebooks" / "comparison.yaml"
Settings = dict[str, Any]  # by name: CureConfig's fields, `weights.X`, the objective's settings
CONFIG = {field.name for field in fields(CureConfig)}


def _ordered(bounds: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    low, default, high = bounds
    if not 0 < low <= default <= high:
        raise ValueError(f"[{low}, {default}, {high}] is no [low, default, high] above 0")
    return bounds


Range = Annotated[
    tuple[StrictInt, StrictInt, StrictInt] | tuple[float, float, float], AfterValidator(_ordered)
]  # [low, default, high] on a log scale
Seeds = Annotated[list[int], Field(min_length=1)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Validation(Part):
    """Where settings are chosen: every trial runs on `seeds`, the best also run on `finals`.

    The `finalists` best trials run again because the best on one request may have been lucky.
    `n_pairs` limits the verification pairs of either kind per set.
    """

    seeds: Seeds
    finals: list[int] = []
    finalists: int = Field(1, gt=0)
    n_pairs: int = Field(gt=0)

    @property
    def all_seeds(self) -> list[int]:
        return [*self.seeds, *self.finals]

    @model_validator(mode="after")
    def _disjoint(self) -> "Validation":
        if len(set(self.all_seeds)) < len(self.all_seeds):
            raise ValueError(f"seeds {self.seeds} and finals {self.finals} name a seed twice")
        if bool(self.finals) != (self.finalists > 1):
            raise ValueError(
                f"{self.finalists} finalists and finals {self.finals}: finals are between two or "
                "more, and without them one trial wins"
            )
        return self


class DatasetPlan(Part):
    """What runs on a data set, and for how long.

    `trials` is the number per method; if `after` names a data set, its finalists are tried after
    the defaults. `oracle_again` also trains each request's oracle from another seed. `n_pairs`
    limits the genuine pairs, and the impostor pairs, per set. References, variants, curves and
    attacks run on `few_seeds` only.
    """

    trials: int = Field(gt=0)
    after: str | None = None
    options: dict[str, Any] = {}
    encoder: str
    weights: str | None = None
    forget_people: int = Field(gt=0)
    split: dict[str, Any] = {}
    teacher: dict[str, Any]
    epochs: int = Field(gt=0)
    oracle_again: bool = False
    unlearning: dict[str, Any] = {}
    n_pairs: int = Field(1500, gt=0)
    validation: Validation
    seeds: Seeds
    few_seeds: Seeds

    @model_validator(mode="after")
    def _consistent(self) -> "DatasetPlan":
        from cure_core.training.arcface import Recipe

        if shared := {*self.validation.all_seeds} & {*self.seeds, *self.few_seeds}:
            raise ValueError(f"seeds {sorted(shared)} are both for validation and reported")
        if unknown := set(self.few_seeds) - set(self.seeds):
            raise ValueError(f"few_seeds {sorted(unknown)} are not among seeds {self.seeds}")
        Recipe(**self.teacher)
        CureConfig(**{"epochs": self.epochs, **self.unlearning})
        return self


class Repeat(Part):
    """The comparison again, on another drawing of the data set `of`, by the settings tuned there.

    `options` replace those of the data set. Only `methods` run there, and the second oracle if the
    data set has one.
    """

    of: str
    options: dict[str, Any]


class Method(Part):
    """The settings that are tuned; `strength` is the one that the frontier varies.

    With nothing to search, a method runs with its defaults. `only` names the one data set on which
    the method runs; None: on all.
    """

    search: dict[str, Range] = {}
    strength: str | None = None
    only: str | None = None

    @model_validator(mode="after")
    def _known(self) -> "Method":
        if self.strength is not None and self.strength not in self.search:
            raise ValueError(f"strength {self.strength!r} is not among {', '.join(self.search)}")
        return self

    def defaults(self) -> Settings:
        return {name: default for name, (_, default, _) in self.search.items()}


class Plan(Part):
    """The whole comparison.

    `factors` multiply the strength along a frontier; `attacked` are the methods whose students are
    attacked too.
    """

    data: dict[str, DatasetPlan]
    repeats: dict[str, Repeat] = {}
    requests: list[str]
    methods: dict[str, Method]
    references: dict[str, Method] = {}
    variants: dict[str, dict[str, Any]] = {}
    factors: list[float] = []
    attacked: list[str] = []

    @model_validator(mode="after")
    def _consistent(self) -> "Plan":
        self._check_names()
        self._check_data()
        for name in [*self.tuned, *self.variants]:
            objective = self.objective(name)
            try:
                _check_settings(objective, self.changed(name, self.tuned[objective].defaults()))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name}: {error}") from error
        return self

    def _check_names(self) -> None:
        from cure_core.objectives import METHODS

        for name in self.tuned:
            if name not in METHODS:
                raise ValueError(f"no method {name!r}; there are {', '.join(METHODS)}")
        for name, variant in self.variants.items():
            if (of := variant.get("of")) not in self.tuned:
                raise ValueError(f"variant {name} is `of` {of!r}, which is not tuned")
            if name in METHODS:
                raise ValueError(f"variant {name} has the name of a method; give it another")
            if base_method(name) != of:  # the tables have nothing else to tell it by
                raise ValueError(
                    f"variant {name} is `of` {of}; give it a name that begins with {of}_ and with "
                    "no longer method's name"
                )
        limits = {name: method.only for name, method in self.tuned.items()}
        limits |= {name: variant.get("only") for name, variant in self.variants.items()}
        for name, only in limits.items():
            if only not in (None, *self.data):
                known = ", ".join(self.data)
                raise ValueError(f"{name} is `only` for {only!r}; the data are {known}")
        if unknown := set(self.attacked) - set(self.methods):
            raise ValueError(f"attacked {', '.join(unknown)}; there are {', '.join(self.methods)}")
        if unknown := set(self.requests) - set(REQUESTS):
            raise ValueError(f"no request {', '.join(unknown)}; there are {', '.join(REQUESTS)}")

    def _check_data(self) -> None:
        searched = {name.partition(".")[0] for m in self.tuned.values() for name in m.search}
        for part in self.data.values():
            if part.after not in (None, *self.data):
                raise ValueError(f"after {part.after!r}; the data are {', '.join(self.data)}")
            if both := searched & set(part.unlearning):
                raise ValueError(
                    f"unlearning sets {', '.join(sorted(both))}, by which methods are tuned; "
                    "leave it out there, or change the range of the search"
                )
        for name, repeat in self.repeats.items():
            if name in self.data or repeat.of not in self.data:
                raise ValueError(
                    f"repeat {name} is `of` {repeat.of!r}; give it a name of its own and one of "
                    f"the data: {', '.join(self.data)}"
                )
            if self.dataset_plan(name).options == self.data[repeat.of].options:
                raise ValueError(f"repeat {name} has the faces of {repeat.of}; give other options")

    def at(self, dataset: str, options: Mapping[str, Any], **fields: Any) -> "Plan":
        """This plan if it has the data set with these options, else a plan for that data set.

        `fields` are those of its `DatasetPlan`; only CURE and its peers run, on random people.
        """
        known = self.data.get(dataset)
        if known is not None and known.options == dict(options):
            return self
        return Plan(
            data={dataset: DatasetPlan(options=dict(options), **fields)},
            requests=self.requests[:1],
            methods={name: m for name, m in self.methods.items() if m.only is None},
        )

    @property
    def datasets(self) -> list[str]:
        """The names of the data and of their repeats, as in the column `dataset` of the tables."""
        return [*self.data, *self.repeats]

    def dataset_plan(self, dataset: str) -> DatasetPlan:
        """The part for a data set; a repeat's has other faces, and no ablations or curves."""
        if dataset in self.data:
            return self.data[dataset]
        repeat = self.repeats[dataset]
        part = self.data[repeat.of]
        options = {**part.options, **repeat.options}
        return part.model_copy(update={"options": options, "few_seeds": []})

    def tuned_on(self, dataset: str) -> str:
        """The data set on which the settings are tuned: the same, or the one that it repeats."""
        return self.repeats[dataset].of if dataset in self.repeats else dataset

    @property
    def tuned(self) -> dict[str, Method]:
        """Everything that is tuned, by name."""
        return {**self.methods, **self.references}

    def objective(self, method: str) -> str:
        """The objective behind a name of the table."""
        return str(self.variants[method]["of"]) if method in self.variants else method

    def changed(self, method: str, settings: Settings) -> Settings:
        """A variant's settings, from the tuned settings of its base method."""
        variant = self.variants.get(method, {}).items()
        return {**settings, **{k: v for k, v in variant if k not in ("of", "only")}}

    def written(self, method: str, settings: Settings) -> str:
        """`changed` as a row of the comparison has it."""
        return json.dumps(self.changed(method, settings))

    def methods_on(self, dataset: str) -> list[str]:
        """The names that run on a data set; references and variants do not run on a repeat.

        The last is the second oracle, if planned.
        """
        source = self.tuned_on(dataset)

        def runs_here(name: str) -> bool:
            limit = self.variants.get(name, {}).get("only")
            return {limit, self.tuned[self.objective(name)].only} <= {None, source}

        names = self.methods if dataset in self.repeats else [*self.tuned, *self.variants]
        second = [SECOND_ORACLE] if self.data[source].oracle_again else []
        return [*filter(runs_here, names), *second]


def read_plan(path: str | Path = PLAN) -> Plan:
    """The plan in a YAML file.

    Raises FileNotFoundError, or ValueError naming the file, the fields that are wrong and why.
    """
    fields = read_yaml(path)
    try:
        return Plan(**fields)
    except Invalid as error:
        raise ValueError(f"{path}: {validation_message(error)}") from error
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from error


def split_settings(settings: Mapping[str, Any]) -> tuple[Settings, Settings]:
    """(arguments of CureConfig, settings of the objective) from settings by name."""
    weights = {k.partition(".")[2]: v for k, v in settings.items() if k.startswith("weights.")}
    config = {name: value for name, value in settings.items() if name in CONFIG}
    if weights:
        config["weights"] = weights
    rest = {k: v for k, v in settings.items() if k not in CONFIG and not k.startswith("weights.")}
    return config, rest


def _check_settings(objective: str, settings: Settings) -> None:
    """Raise TypeError or ValueError if an objective does not accept the settings."""
    from cure_core.objectives import build

    config, options = split_settings(settings)
    if objective.startswith("supervised_"):
        options |= {"forget_labels": [0], "retain_labels": [0]}
    weights = build(objective, **options)(CureConfig(**config)).weights
    if unknown := set(config.get("weights", {})) - set(weights):
        raise ValueError(f"no weight {', '.join(sorted(unknown))}; there are {', '.join(weights)}")
