"""What the comparison runs: `notebooks/comparison.yaml`, checked before anything is trained."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, model_validator
from pydantic import ValidationError as Invalid

from cure_core.config import CureConfig
from cure_core.objectives import METHODS, build
from cure_core.training.arcface import Recipe
from cure_study.data.yaml_files import read_yaml
from cure_study.experiments.comparison.store import AGAIN
from cure_study.experiments.study import REQUESTS
from cure_study.runner.parameters import in_a_line

PLAN = Path(__file__).parents[3] / "notebooks" / "comparison.yaml"
Settings = dict[str, Any]  # a method's settings by name: CureConfig's, `weights.X`, or its own
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
    """Where settings are chosen: by every trial on `seeds`, by the best of them on `finals` too.

    `finalists` trials go on to the finals; what wins on one request may have been lucky there.
    `n_pairs` is the most pairs of either kind that judge a set.
    """

    seeds: Seeds
    finals: list[int] = []
    finalists: int = Field(1, gt=0)
    n_pairs: int = Field(gt=0)

    @model_validator(mode="after")
    def _apart(self) -> "Validation":
        every = [*self.seeds, *self.finals]
        if len(set(every)) < len(every):
            raise ValueError(f"seeds {self.seeds} and finals {self.finals} name a seed twice")
        if bool(self.finals) != (self.finalists > 1):
            raise ValueError(
                f"{self.finalists} finalists and finals {self.finals}: finals are between two or "
                "more, and without them one trial wins"
            )
        return self


class DatasetPlan(Part):
    """A data set and how long everything lasts on it.

    `trials` a method; where `after` names a data set, its finalists are tried after the defaults.
    `oracle_again` trains each request's oracle from another seed too. `n_pairs` is the most genuine
    pairs, and the most impostor pairs, that judge a set.
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
    def _apart(self) -> "Arena":
        v = self.validation
        if shared := {*v.seeds, *v.finals} & {*self.seeds, *self.few_seeds}:
            raise ValueError(f"seeds {sorted(shared)} are both for validation and reported")
        if unknown := set(self.few_seeds) - set(self.seeds):
            raise ValueError(f"few_seeds {sorted(unknown)} are not among seeds {self.seeds}")
        Recipe(**self.teacher)
        CureConfig(**{"epochs": self.epochs, **self.unlearning})
        return self


class Repeat(Part):
    """The fight once more, on another drawing of a data set, by the settings that won on it.

    `options` are those of its arena with these in their place. Methods alone run there, and the
    second oracle where the arena has one.
    """

    of: str
    options: dict[str, Any]


class Method(Part):
    """What a method may be tuned by, and what the frontier turns up and down.

    `only` names the data set that it runs on, where it does not run on all.
    """

    search: dict[str, Range]
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
    """The whole comparison. `factors` are those of a curve; `attacked` meet every attack too."""

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
        for name, method in self.tuned.items():
            if name not in METHODS:
                raise ValueError(f"no method {name!r}; there are {', '.join(METHODS)}")
            self._limited(name, method.only)
        for name, change in self.variants.items():
            if change.get("of") not in self.tuned:
                raise ValueError(f"variant {name} is `of` {change.get('of')!r}, which is not tuned")
            if name in METHODS:
                raise ValueError(f"variant {name} has the name of a method; give it another")
            if varied(name) != change["of"]:  # by which its rows tell what they vary
                raise ValueError(
                    f"variant {name} is `of` {change['of']}; give it a name that begins with "
                    f"{change['of']}_ and with no longer method's name"
                )
            self._limited(name, change.get("only"))
        searched = {part.partition(".")[0] for m in self.tuned.values() for part in m.search}
        for arena in self.data.values():
            if arena.after not in (None, *self.data):
                raise ValueError(f"after {arena.after!r}; the data are {', '.join(self.data)}")
            if taken := searched & set(arena.unlearning):
                raise ValueError(
                    f"unlearning sets {', '.join(sorted(taken))}, by which methods are tuned; "
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
        for name in [*self.tuned, *self.variants]:
            objective = self.objective(name)
            try:
                _buildable(objective, self.changed(name, self.tuned[objective].defaults()))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name}: {error}") from error
        if unknown := set(self.attacked) - set(self.methods):
            raise ValueError(f"attacked {', '.join(unknown)}; there are {', '.join(self.methods)}")
        unknown = set(self.requests) - set(REQUESTS)
        if unknown:
            raise ValueError(f"no request {', '.join(unknown)}; there are {', '.join(REQUESTS)}")
        return self

    def _limited(self, name: str, only: str | None) -> None:
        if only not in (None, *self.data):
            raise ValueError(f"{name} is `only` for {only!r}; the data are {', '.join(self.data)}")

    def at(self, dataset: str, options: Mapping[str, Any], **arena: Any) -> "Plan":
        """This plan where it has the data set so drawn, or one on other faces, of a scale given.

        `arena` are the fields of an `DatasetPlan`; then CURE and its peers alone, on random people.
        """
        known = self.data.get(dataset)
        if known is not None and known.options == dict(options):
            return self
        return Plan(
            data={dataset: DatasetPlan(options=dict(options), **arena)},
            requests=self.requests[:1],
            methods={name: m for name, m in self.methods.items() if m.only is None},
        )

    @property
    def datasets(self) -> list[str]:
        """The names of the data and of their repeats, as in the column `dataset` of the tables."""
        return [*self.data, *self.repeats]

    def dataset_plan(self, dataset: str) -> DatasetPlan:
        """Its arena; that of a repeat has other faces, and no ablations or curves."""
        if dataset in self.data:
            return self.data[dataset]
        repeat = self.repeats[dataset]
        arena = self.data[repeat.of]
        options = {**arena.options, **repeat.options}
        return arena.model_copy(update={"options": options, "few_seeds": []})

    def tuned_on(self, dataset: str) -> str:
        """Where the settings used on a data set won: on itself, or on what it repeats."""
        return self.repeats[dataset].of if dataset in self.repeats else dataset

    @property
    def tuned(self) -> dict[str, Method]:
        """Everything that is tuned, by name."""
        return {**self.methods, **self.references}

    def objective(self, method: str) -> str:
        """The objective behind a name of the table."""
        return str(self.variants[method]["of"]) if method in self.variants else method

    def changed(self, method: str, settings: Settings) -> Settings:
        """A variant's settings from those of what it varies."""
        change = self.variants.get(method, {}).items()
        return {**settings, **{k: v for k, v in change if k not in ("of", "only")}}

    def written(self, method: str, settings: Settings) -> str:
        """`changed` as a row of the comparison has it."""
        return json.dumps(self.changed(method, settings))

    def methods_on(self, dataset: str) -> list[str]:
        """Who runs on a data set: methods, and but for a repeat references and variants too.

        Last the second oracle, where it is asked for.
        """
        source = self.tuned_on(dataset)

        def meant(name: str) -> bool:
            own = self.variants.get(name, {}).get("only")
            return {own, self.tuned[self.objective(name)].only} <= {None, source}

        some = self.methods if dataset in self.repeats else [*self.tuned, *self.variants]
        again = [AGAIN] if self.data[source].oracle_again else []
        return [*(name for name in some if meant(name)), *again]


def varied(method: str) -> str | None:
    """The method that a variant varies: the longest whose name begins its own; None for none."""
    return max((base for base in METHODS if method.startswith(f"{base}_")), key=len, default=None)


def _buildable(name: str, settings: Settings) -> None:
    """Raise TypeError or ValueError where a method does not take its settings."""
    config, own = split_settings(settings)
    supervised = name.startswith("supervised_")
    labels = {"forget_labels": [0], "retain_labels": [0]} if supervised else {}
    objective = build(name, **own, **labels)(CureConfig(**config))
    if lacking := set(config.get("weights", {})) - set(objective.weights):
        raise ValueError(
            f"no weight {', '.join(sorted(lacking))}; there are {', '.join(objective.weights)}"
        )


def read_plan(path: str | Path = PLAN) -> Plan:
    """The plan in a YAML file.

    Raises FileNotFoundError, or ValueError naming the file, the fields that are wrong and why.
    """
    fields = read_yaml(path)
    try:
        return Plan(**fields)
    except Invalid as error:
        raise ValueError(f"{path}: {in_a_line(error)}") from error
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from error


def split_settings(settings: Mapping[str, Any]) -> tuple[Settings, Settings]:
    """(arguments of CureConfig, settings of the objective) from settings by name."""
    weights = {k.partition(".")[2]: v for k, v in settings.items() if k.startswith("weights.")}
    config = {name: value for name, value in settings.items() if name in CONFIG}
    if weights:
        config["weights"] = weights
    own = {k: v for k, v in settings.items() if k not in CONFIG and not k.startswith("weights.")}
    return config, own
