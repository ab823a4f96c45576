"""The methods by the names they have in tables."""

from collections.abc import Callable
from dataclasses import MISSING, fields
from difflib import get_close_matches
from functools import partial
from typing import Any

from cure_core.config import CureConfig
from cure_core.objectives.bad_teacher import BadTeacher
from cure_core.objectives.base import Objective
from cure_core.objectives.blend import Blend
from cure_core.objectives.cure import Cure
from cure_core.objectives.cure_plus import CurePlus
from cure_core.objectives.cure_scatter import CureScatter
from cure_core.objectives.dispersion import Dispersion
from cure_core.objectives.fine_tune import FineTune
from cure_core.objectives.laf import Laf
from cure_core.objectives.neg_grad import NegGrad, NegGradPlus
from cure_core.objectives.random_relabel import RandomRelabel
from cure_core.objectives.redistil import Redistil
from cure_core.objectives.scrub import Scrub
from cure_core.objectives.ssd import Ssd
from cure_core.objectives.supervised import SupervisedNegGradPlus, SupervisedScrub

METHODS: dict[str, type[Objective]] = {
    "cure": Cure,
    "cure_plus": CurePlus,
    "cure_scatter": CureScatter,
    "neg_grad": NegGrad,
    "neg_grad_plus": NegGradPlus,
    "scrub": Scrub,
    "bad_teacher": BadTeacher,
    "random_relabel": RandomRelabel,
    "ssd": Ssd,
    "laf": Laf,
    "dispersion": Dispersion,
    "fine_tune": FineTune,
    "blend": Blend,
    "redistil": Redistil,
    "supervised_scrub": SupervisedScrub,
    "supervised_neg_grad_plus": SupervisedNegGradPlus,
}


def build(name: str, **settings: Any) -> Callable[[CureConfig], Objective]:
    """What `unlearn` takes as `objective`: a method by name, with its settings.

    Raises ValueError for an unknown name or setting, and for missing labels of a supervised method;
    for a setting out of range when it is called with the config.

    >>> build("scrub", ascent=0.3)(CureConfig()).described()
    'Scrub(ascent=0.3)'
    """
    if name not in METHODS:
        near = get_close_matches(str(name), METHODS, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"no method {name!r}{hint}; there are {', '.join(METHODS)}")
    _check_names(name, METHODS[name], settings)
    return partial(METHODS[name], **settings)


def make_objective(
    objective: str | Callable[[CureConfig], Objective], config: CureConfig
) -> Objective:
    """The objective for a config, from a name in `METHODS`, a class, or what `build` returned.

    Raises ValueError for anything else.
    """
    if isinstance(objective, str):
        objective = build(objective)
    elif isinstance(objective, type) and issubclass(objective, Objective):
        _check_names(objective.__name__, objective, {})
    made = objective(config) if callable(objective) else None
    if not isinstance(made, Objective):
        raise ValueError(
            f"objective={objective!r}; give a method's name ({', '.join(METHODS)}), a subclass of "
            "Objective, or objectives.build(name, **settings)"
        )
    return made


def _check_names(name: str, method: type[Objective], given: dict[str, Any]) -> None:
    """Raise ValueError for settings that a method lacks, and for required ones not given."""
    settings = fields(method)[1:]  # all but the config
    known = [item.name for item in settings]
    if unknown := sorted(given.keys() - set(known)):
        raise ValueError(
            f"{name} has no setting {', '.join(unknown)}; it has {', '.join(known) or 'none'}"
        )
    required = [
        item.name
        for item in settings
        if item.init and item.default is MISSING and item.default_factory is MISSING
    ]
    if missing := [item for item in required if item not in given]:
        raise ValueError(
            f"{name} needs {' and '.join(missing)}: objectives.build({name!r}, {missing[0]}=...)"
        )
