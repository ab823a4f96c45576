"""The methods by the names they have in tables."""

from collections.abc import Callable
from functools import partial
from typing import Any

from cure_core.config import CureConfig
from cure_core.objectives.bad_teacher import BadTeacher
from cure_core.objectives.base import Objective
from cure_core.objectives.cure import Cure
from cure_core.objectives.cure_plus import CurePlus
from cure_core.objectives.cure_scatter import CureScatter
from cure_core.objectives.dispersion import Dispersion
from cure_core.objectives.fine_tune import FineTune
from cure_core.objectives.laf import Laf
from cure_core.objectives.neg_grad import NegGrad, NegGradPlus
from cure_core.objectives.random_relabel import RandomRelabel
from cure_core.objectives.scrub import Scrub
from cure_core.objectives.ssd import Ssd
from cure_core.objectives.supervised import SupervisedNegGradPlus, SupervisedScrub

METHODS: dict[str, Callable[..., Objective]] = {
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
    "supervised_scrub": SupervisedScrub,
    "supervised_neg_grad_plus": SupervisedNegGradPlus,
}


def build(name: str, **settings: Any) -> Callable[[CureConfig], Objective]:
    """What `unlearn` takes as `objective`: a method by name, with settings of its own.

    Raises KeyError for an unknown name. A setting that the method lacks, or labels that a
    supervised one misses, is a TypeError once the config is given.

    >>> build("scrub", ascent=0.3)(CureConfig()).described()
    'Scrub(ascent=0.3)'
    """
    if name not in METHODS:
        raise KeyError(f"no method {name!r}; there are {', '.join(METHODS)}")
    return partial(METHODS[name], **settings)
