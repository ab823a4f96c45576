"""Every attack of the study, run alike on the teacher, the student and the oracle."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from cure_study.evaluation.protocol import Protocol
from cure_study.evaluation.space import Space, view_table
from cure_study.experiments.attacks.collateral import collateral_correlation
from cure_study.experiments.attacks.embedding_attacks import (
    ShadowScores,
    detectability,
    matching,
    membership,
    movement,
)
from cure_study.experiments.attacks.recovery import (
    few_shot,
    most_images,
    relearning,
    relearning_split,
)
from cure_study.experiments.attacks.shadow_models import Shadow
from cure_study.experiments.attacks.table import Rows, row


@dataclass(frozen=True, eq=False, repr=False)
class Attacks:
    """The results of `attack_all`.

    `rows`: model, set, attack, metric, at (images shown or steps taken, NaN elsewhere), value,
    low, high (95 %, over people); `people`: model, person, movement, nearness, one row for each
    retained person.
    """

    rows: pd.DataFrame
    people: pd.DataFrame


def attack_all(
    protocol: Protocol,
    *,
    before: nn.Module,
    after: nn.Module,
    oracle: nn.Module | None = None,
    shadows: Sequence[Shadow] = (),
    device: torch.device | str | None = None,
    progress: bool | None = None,
    **options: Any,
) -> Attacks:
    """Every attack on the teacher, the student and, if there is one, the oracle.

    Without `shadows` (of `train_shadows`) the likelihood-ratio attack is left out. `options` are
    those of `attack_model`. Raises ValueError if a model's embeddings are not finite.
    """
    models = {"before": before, "after": after} | ({} if oracle is None else {"oracle": oracle})
    spaces = {name: Space(protocol, model, device, progress) for name, model in models.items()}
    tables = [view_table(protocol, shadow.encoder, device, progress) for shadow in shadows]
    scores = [
        (table, np.isin(protocol.faces.identities[table.index], shadow.people))
        for table, shadow in zip(tables, shadows, strict=True)
    ]
    rows: Rows = []
    people = []
    for name, space in spaces.items():
        measured, moved = attack_model(space, spaces["before"], shadows=scores, **options)
        rows += [{"model": name, **values} for values in measured]
        if len(moved):
            people.append(moved.assign(model=name))
    return Attacks(pd.DataFrame(rows), pd.concat(people, ignore_index=True))


def attack_model(
    space: Space,
    teacher: Space,
    *,
    shadows: ShadowScores = (),
    shots: Sequence[int] = (1, 2, 5),
    relearn_images: Sequence[int] = (1, 3),
    relearn_epochs: int = 5,
    n_bootstrap: int = 300,
) -> tuple[Rows, pd.DataFrame]:
    """Every attack on one model, and how far each retained person has moved, as in `Attacks`.

    `shadows` as in `membership`. Intervals resample people `n_bootstrap` times (0: none). The
    teacher has moved nobody, so it has no `collateral` and an empty table of people.
    """
    protocol = space.protocol
    rows = [
        *membership(space, shadows, n_bootstrap),
        *matching(space, teacher, n_bootstrap),
        *few_shot(space, shots),
    ]
    for n in relearn_images:
        rows += relearning(protocol, space.encoder, n, relearn_epochs, space.device)
    rows += detectability(space, n_bootstrap)
    if space is teacher:
        return rows, pd.DataFrame()
    people = movement(space, teacher)
    correlation = collateral_correlation(people, n_bootstrap, protocol.seed)
    return [*rows, row("collateral", "spearman", correlation, which="retain")], people


def check_numbers(
    protocol: Protocol,
    shots: Sequence[int] = (),
    relearn_images: Sequence[int] = (),
    shadows: int = 0,
) -> None:
    """Raise ValueError for numbers that an attack could not use, before anything is trained."""
    most = most_images(protocol.faces.identities[protocol.forget])
    if too_many := [n for n in shots if not 0 < n < most]:
        raise ValueError(f"shots={too_many}; the most forget images of a person are {most}")
    for n in relearn_images:
        genuine = relearning_split(protocol, n)[1].genuine
        if n < 1 or genuine.all() or not genuine.any():
            raise ValueError(
                f"relearn_images={n} leaves no genuine or no impostor pair to evaluate on; the "
                f"most forget images of a person are {most}"
            )
    if shadows and (shadows < 4 or shadows % 2):
        raise ValueError(f"shadows={shadows}; 0 for none, or an even number, four at least")
