"""What the rows of the quality experiment say: signed changes, paired tests, groups."""

import numpy as np
import pandas as pd
from torch import nn

from cure_core import encoders
from cure_core.encoders.embedding import embed
from cure_core.metrics.discard import discard_table
from cure_core.metrics.intervals import difference_interval
from cure_study.data import manifests
from cure_study.data.faceset import FaceSet
from cure_study.experiments.quality import scorers
from cure_study.experiments.quality.experiment import Experiment
from cure_study.experiments.quality.setting import Condition
from cure_study.paths import data_root

# Methods that also run on as many images chosen at random, as a control.
COMPARED_WITH_RANDOM = ("cure_plus", "oracle")


def scorer_table(experiment: Experiment) -> pd.DataFrame:
    """Every scorer against the true quality: scorer, correlation (Spearman's), p, images, seed.

    On the training images, through the teacher, as a request would use it.
    """
    from scipy.stats import spearmanr

    faces = experiment.train_set
    assert faces.attributes is not None
    rows = []
    for name in scorers.SCORERS:
        scores = scorers.score(faces.images, name, experiment.teacher)
        found = spearmanr(scores, faces.attributes["quality"])
        rows.append((name, float(found.statistic), float(found.pvalue)))
    table = pd.DataFrame(rows, columns=["scorer", "correlation", "p"])
    return table.assign(images=len(faces), seed=experiment.seed)


def discard_curves(faces: FaceSet, encoder: nn.Module, seed: int = 0) -> pd.DataFrame:
    """Error-versus-discard curves of the scorers on a face set (`metrics.discard_table`).

    If the set has a true quality, "truth" is among them.
    """
    orderings = {name: scorers.score(faces.images, name, encoder) for name in scorers.SCORERS}
    if faces.attributes is not None and "quality" in faces.attributes:
        orderings["truth"] = faces.attributes["quality"].to_numpy()
    table = discard_table(embed(encoder, faces.images), faces.identities, orderings, seed=seed)
    return table.assign(dataset=faces.name, seed=seed)


def real_curves(dataset: str, weights: str, images: int, seed: int = 0) -> pd.DataFrame:
    """`discard_curves` on a data set of real faces, through a MobileFaceNet with weights.

    About `images` images of people drawn at random among those with two or more, at most ten of
    each; `weights` is a path from the data root. Raises what `manifests.load` and
    `encoders.build` raise if data or weights are missing.
    """
    faces = manifests.load(dataset)
    model = encoders.build("mobilefacenet", data_root() / weights)
    rng = np.random.default_rng([seed, 8])
    people, counts = np.unique(faces.identities, return_counts=True)
    chosen: list[np.ndarray] = []
    for person in rng.permutation(people[counts > 1]):
        if sum(map(len, chosen)) >= images:
            break
        chosen.append(rng.permutation(np.flatnonzero(faces.identities == person))[:10])
    index = np.sort(np.concatenate(chosen))
    drawn = FaceSet(faces.name, faces.images[index], faces.identities[index], faces.fingerprint)
    return discard_curves(drawn, model, seed=seed)


def score_shares(scores: np.ndarray, planted: np.ndarray, bins: int = 20) -> pd.DataFrame:
    """Histogram of the rank (0 poorest, 1 best) by the kind of image: kind, rank, share."""
    from scipy.stats import rankdata

    ranks = (rankdata(scores) - 0.5) / len(scores)
    edges = np.linspace(0, 1, bins + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    parts = []
    for kind in sorted(set(planted)):
        counts = np.histogram(ranks[planted == kind], edges)[0]
        parts.append(pd.DataFrame({"kind": kind, "rank": centres, "share": counts / counts.sum()}))
    return pd.concat(parts, ignore_index=True)


def changes(rows: pd.DataFrame) -> pd.DataFrame:
    """The signed change of accuracy against the teacher of the same seed and training.

    One row a run and protocol: the run's key, seed, protocol, accuracy, change.
    """
    columns = [name for name in rows.columns if name.startswith("accuracy_")]
    long = rows.melt([*Condition._fields, "seed"], columns, "protocol", "accuracy")
    long["protocol"] = long.protocol.str.removeprefix("accuracy_")
    teacher = long.method == "teacher"
    key = ["training", "seed", "protocol"]
    before = long[teacher].set_index(key).accuracy.rename("before")
    runs = long[~teacher].join(before, on=key)
    return runs.assign(change=runs.accuracy - runs.pop("before")).dropna(subset="change")


def change_table(changed: pd.DataFrame) -> pd.DataFrame:
    """Mean change of each run with its 95 % t-interval over seeds, and against its control.

    `change`, `low`, `high`, `p` (two-sided paired t-test against no change); where the same method
    ran on as many images chosen at random, `against_random`, `against_low`, `against_high` and
    `against_p` compare with it, seed by seed. No correction for the number of runs is made.
    """
    pairing = ["training", "method", "fraction", "protocol", "seed"]
    is_random = changed.order == "random"
    controls = changed[is_random & changed.method.isin(COMPARED_WITH_RANDOM)]
    control = controls.set_index(pairing).change.rename("control")
    difference = changed.change - changed.join(control, on=pairing).control
    changed = changed.assign(difference=difference.mask(is_random))
    key = [*Condition._fields, "protocol"]
    table = []
    for values, runs in changed.groupby(key, sort=False):
        row = dict(zip(key, values, strict=True)) | {"seeds": len(runs)}
        row |= _tested(runs.change, "change", "low", "high", "p")
        if runs.difference.notna().any():
            names = ("against_random", "against_low", "against_high", "against_p")
            row |= _tested(runs.difference.dropna(), *names)
        table.append(row)
    return pd.DataFrame(table)


def group_table(rows: pd.DataFrame) -> pd.DataFrame:
    """What each group loses: group, method, fraction, share of its images chosen, accuracy change.

    Natural training, order "lowest", means over the seeds. `chosen_ratio` is the group's rate over
    that of all images: 1 if the choice does not depend on the group.
    """
    natural = rows[rows.training == "natural"]
    lowest, teacher = natural[natural.order == "lowest"], natural[natural.method == "teacher"]
    parts = []
    for column in [name for name in rows.columns if name.startswith("chosen.")]:
        group = column.removeprefix("chosen.")
        accuracy = f"accuracy.{group}"
        before = teacher.set_index("seed").get(accuracy, pd.Series(dtype=float))
        runs = pd.DataFrame(
            {
                "method": lowest.method,
                "fraction": lowest.fraction,
                "chosen": lowest[column],
                "chosen_ratio": lowest[column] / (lowest.forgotten / lowest.images),
                "accuracy_before": before.mean(),
                "accuracy_change": lowest.get(accuracy, np.nan) - lowest.seed.map(before),
            }
        )
        means = runs.groupby(["method", "fraction"]).mean().reset_index()
        means.insert(0, "group", group)
        parts.append(means)
    return pd.concat(parts, ignore_index=True)


def _tested(values: pd.Series, *names: str) -> dict[str, float]:
    """Mean, both bounds of the interval and p of the t-test, under four names."""
    from scipy.stats import ttest_1samp

    varied = len(values) > 1 and np.ptp(values) > 0
    p = float(ttest_1samp(values, 0).pvalue) if varied else np.nan
    return dict(zip(names, (*difference_interval(values, "accuracy"), p), strict=True))
