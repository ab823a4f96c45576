"""What one request asks: the images, the list, the encoder, and how to forget."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from cure_core import objectives
from cure_core.checks import known_fields, nearest, one_of, whole
from cure_core.config import CureConfig
from cure_core.objectives import Objective
from cure_core.training.arcface import Recipe
from cure_core.training.batches import epoch_steps
from cure_study.erasure.report import Goal

GOALS: dict[Goal, str] = {"erase": "cure_plus", "blend": "blend"}  # and the method of each
NO_IDENTITIES, FOLDERS = "none", "folders"
PATHS = ("images", "forget", "weights", "retain", "strangers", "after")
STEPS = 200  # with automatic epochs, at least; our choice, by docs/requests.md


@dataclass(frozen=True)
class RequestSetting:
    """What a request asks and how it is fulfilled; relative paths count from the current folder.

    images: a folder, flat or nested, or a `.rec` pack
    forget: the list: a text file of paths, folders or globs, a CSV, or a folder to be compared by
        content
    weights: of the encoder; with `after`, the earlier result's student takes their place
    encoder: a name in `encoders.REGISTRY`, or module:function
    retain: a list of the images that must stay; None: all others
    method: a name in `objectives.METHODS` that needs no labels and serves the goal; "auto": the
        goal's own
    goal: "erase": the forgotten are no longer recognised; "blend": the encoder treats them like
        people whom it never saw
    identities: who is on which image, for the measures alone: "folders", the path of a CSV, or
        "none"
    strangers: a folder of people that the encoder never saw, for the attacks
    align: find the face in raw photos and align it
    include_lookalikes: also forget images that look like the forgotten ones
    after: the folder of an earlier request's result, which this one continues
    oracle: also train an encoder from scratch without the forgotten images, to compare with; needs
        identities
    onnx: also export the student to ONNX
    unlearning: settings of CureConfig; `epochs` (for blending `retain_epochs`) may be "auto", as
        it is by default: the usual number, and enough for 200 steps
    teacher: settings of the oracle's training (Recipe)
    device: None is the CPU
    seed: of all randomness
    n_bootstrap: resamples of people for each interval

    Raises ValueError that names the field, its value and what is accepted.
    """

    images: Path
    forget: Path
    weights: Path | None = None
    encoder: str = "mobilefacenet"
    retain: Path | None = None
    method: str = "auto"
    goal: Goal = "erase"
    identities: str = NO_IDENTITIES
    strangers: Path | None = None
    align: bool = False
    include_lookalikes: bool = False
    after: Path | None = None
    oracle: bool = False
    onnx: bool = False
    unlearning: Mapping[str, Any] = field(default_factory=dict)
    teacher: Mapping[str, Any] = field(default_factory=dict)
    device: str | None = None
    seed: int = 0
    n_bootstrap: int = 300

    def __post_init__(self) -> None:
        for name in PATHS:
            value = getattr(self, name)
            if value is not None or name in ("images", "forget"):
                object.__setattr__(self, name, _path(name, value))
        one_of("goal", self.goal, GOALS)
        object.__setattr__(self, "method", _method(self.method, self.goal))
        for name in ("seed", "n_bootstrap"):
            object.__setattr__(self, name, whole(name, getattr(self, name)))
        if self.weights is None and self.after is None:
            raise ValueError(
                "no weights are given; pass those of the encoder that must forget (--weights FILE)"
            )
        if self.weights is not None and self.after is not None:
            raise ValueError(
                f"weights={str(self.weights)!r} and after={str(self.after)!r}; give one: "
                "after an earlier request, its student is the encoder that must forget"
            )
        if self.oracle and self.identities == NO_IDENTITIES:
            raise ValueError(
                "oracle=True trains with identity labels; pass identities ('folders' or a CSV)"
            )
        self.config(1, 1)
        self.recipe()

    def config(self, forget: int, retain: int) -> CureConfig:
        """The settings of unlearning for sets of so many images."""
        names = [item.name for item in fields(CureConfig)]
        given = known_fields("unlearning", self.unlearning, names)
        if given.get("seed", self.seed) != self.seed:
            raise ValueError(f"unlearning: seed={given['seed']}; set the request's seed alone")
        length = "epochs" if self.objective.shows_forget else "retain_epochs"
        automatic = given.get(length, "auto") == "auto"
        if automatic:
            given.pop(length, None)
        config = CureConfig(**{"amp": "auto", **given, "seed": self.seed})
        if automatic:
            steps = epoch_steps((forget, retain), config, self.objective.shows_forget)
            epochs = max(self.objective.passes(config), -(-STEPS // steps))
            config = CureConfig(**{**vars(config), length: epochs})
        return self.objective.filled_in(config)

    @property
    def objective(self) -> type[Objective]:
        """The method's class."""
        return objectives.METHODS[self.method]

    def recipe(self) -> Recipe:
        """The settings of the oracle's training."""
        given = known_fields("teacher", self.teacher, [item.name for item in fields(Recipe)])
        return Recipe(**{**given, "seed": self.seed})

    def plain(self) -> dict[str, Any]:
        """The fields as plain values with absolute paths, for `config.yaml`."""
        values = {
            **asdict(self),
            "unlearning": dict(self.unlearning),
            "teacher": dict(self.teacher),
        }
        for name in PATHS:
            values[name] = None if values[name] is None else str(values[name].absolute())
        if self.identities not in (NO_IDENTITIES, FOLDERS):
            values["identities"] = str(Path(self.identities).absolute())
        return values


def setting_of(parameters: Mapping[str, Any]) -> RequestSetting:
    """The setting that a notebook's parameters, or a `config.yaml`, describe; the rest is ignored.

    Raises ValueError as RequestSetting does.
    """
    names = [item.name for item in fields(RequestSetting)]
    return RequestSetting(**{name: parameters[name] for name in names if name in parameters})


def _method(name: str, goal: Goal) -> str:
    """The method for a goal. Raises ValueError for one that is not meant for it."""
    if name == "auto":
        return GOALS[goal]
    one_of("method", name, objectives.METHODS)
    if name.startswith("supervised_"):
        raise ValueError(
            f"method={name!r} needs identity labels; a request is fulfilled without: "
            f"{nearest(name.removeprefix('supervised_'), objectives.METHODS)}"
        )
    meant_for = "erase" if objectives.METHODS[name].shows_forget else "blend"
    if meant_for != goal:
        raise ValueError(
            f"method={name!r} is meant for goal={meant_for!r}, not for goal={goal!r}; leave the "
            f"method out to take {GOALS[goal]!r}"
        )
    return name


def _path(name: str, value: Any) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError(f"{name}={value!r}; it is a path")
    return Path(value).expanduser()
