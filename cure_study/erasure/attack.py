"""Membership inference and detection of the forgotten, against strangers."""

import numpy as np

from cure_core.metrics.intervals import Interval
from cure_core.metrics.membership import membership_attack
from cure_study.erasure.embedded import Embedded
from cure_study.erasure.measures import named
from cure_study.erasure.report import Estimate
from cure_study.erasure.request import Request
from cure_study.evaluation.features import view_features
from cure_study.evaluation.space import changed_views
from cure_study.experiments.attacks.outliers import detection_auc

MOST_ATTACKED = 2000  # images of each side of an attack
FEWEST_PEOPLE = 2  # on each side of an attack


def attack(request: Request, model: Embedded, progress: bool | None) -> dict[str, Estimate]:
    """Membership and detection against strangers; nothing without strangers."""
    files, setting = request.files, request.files.setting
    if files.strangers is None or request.stranger_people is None:
        return {}
    assert model.stranger_raw is not None
    rng = np.random.default_rng([setting.seed, 6])
    strangers = _some(rng, np.arange(len(request.stranger_people)))
    members = _some(rng, request.retain)[: len(strangers)]
    forget = _some(rng, request.forget)
    own, images = files.folder.images, files.strangers.images
    tables = {}
    for name, index, source, raw, people in (
        ("members", members, own, model.raw, request.people),
        ("forget", forget, own, model.raw, request.people),
        ("strangers", strangers, images, model.stranger_raw, request.stranger_people),
    ):
        changed = changed_views(model.model, source[index], setting.device, progress)
        tables[name] = [raw[index], *(view.numpy() for view in changed)], people[index]
    found: dict[str, Estimate] = {}
    if min(len(np.unique(tables[name][1])) for name in ("members", "strangers")) >= FEWEST_PEOPLE:
        plain = {name: view_features(*table, m=0).to_numpy() for name, table in tables.items()}
        attack = membership_attack(
            plain["members"],
            plain["strangers"],
            plain["forget"],
            member_people=tables["members"][1],
            non_member_people=tables["strangers"][1],
            seed=setting.seed,
            n_bootstrap=setting.n_bootstrap,
        )
        found |= named("membership_auc", Interval(attack.auc, attack.auc_low, attack.auc_high))
        found |= named("membership_recall", Interval(attack.recall, np.nan, np.nan))
    several = {name: _with_others(*tables[name]) for name in ("forget", "strangers")}
    if min(len(np.unique(people)) for _, people in several.values()) >= FEWEST_PEOPLE:
        (gone, gone_people), (others, other_people) = several["forget"], several["strangers"]
        auc = detection_auc(
            view_features(gone, gone_people),
            view_features(others, other_people),
            gone_people,
            other_people,
            n_bootstrap=setting.n_bootstrap,
            seed=setting.seed,
        )
        found |= named("detection_auc", auc)
    return found


def _some(rng: np.random.Generator, index: np.ndarray) -> np.ndarray:
    return rng.permutation(index)[:MOST_ATTACKED]


def _with_others(
    views: list[np.ndarray], people: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """The images of people who have at least two."""
    names, counts = np.unique(people, return_counts=True)
    rows = np.isin(people, names[counts >= 2])
    return [view[rows] for view in views], people[rows]
