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
from cure_study.experiments.quality.study import KEY, Bench
from cure_study.paths import data_root

RUN = [*KEY]
# the control of each run: the same method and number of pictures, drawn at random
AGAINST_RANDOM = ("cure_plus", "oracle")


def scorer_table(bench: Bench, names: tuple[str, ...] = scorers.SCORERS) -> pd.DataFrame:
    """Every scorer against the truth: scorer, correlation (Spearman's), its p-value, images.

    On the bench's training pictures, through its teacher, which is what a request would see.
    """
    from scipy.stats import spearmanr

    faces = bench.world.train
    assert faces.attributes is not None
    truth = faces.attributes["quality"]
    rows = []
    for name in names:
        found = spearmanr(scorers.score(faces.images, name, bench.teacher.encoder), truth)
        rows.append((name, float(found.statistic), float(found.pvalue), len(faces)))
    table = pd.DataFrame(rows, columns=["scorer", "correlation", "p", "images"])
    return table.assign(seed=bench.seed)


def discard_curves(
    faces: FaceSet,
    encoder: nn.Module,
    names: tuple[str, ...] = scorers.SCORERS,
    seed: int = 0,
) -> pd.DataFrame:
    """Error-versus-discard curves of the scorers on a face set (`metrics.discard_table`).

    Where the set knows its true quality, "truth" is among them.
    """
    orderings = {name: scorers.score(faces.images, name, encoder) for name in names}
    if faces.attributes is not None and "quality" in faces.attributes:
        orderings["truth"] = faces.attributes["quality"].to_numpy()
    table = discard_table(embed(encoder, faces.images), faces.identities, orderings, seed=seed)
    return table.assign(dataset=faces.name, seed=seed)


def real_curves(
    dataset: str, weights: str, images: int, encoder: str = "mobilefacenet", seed: int = 0
) -> pd.DataFrame:
    """`discard_curves` on a data set of real faces, through an encoder with weights.

    About `images` images of people drawn at random among those with two or more, at most ten of
    each; `weights` is a path from the data root. Raises what `manifests.load` and
    `encoders.build` raise where data or weights are missing.
    """
    faces = manifests.load(dataset)
    model = encoders.build(encoder, data_root() / weights)
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
    """Histogram of the rank (0 poorest, 1 best) by the kind of picture: kind, rank, share."""
    from scipy.stats import rankdata

    ranks = (rankdata(scores) - 0.5) / len(scores)
    edges = np.linspace(0, 1, bins + 1)
    rows = []
    for kind in sorted(set(planted)):
        counts = np.histogram(ranks[planted == kind], edges)[0]
        centres = (edges[:-1] + edges[1:]) / 2
        rows.append(pd.DataFrame({"kind": kind, "rank": centres, "share": counts / counts.sum()}))
    return pd.concat(rows, ignore_index=True)


def changes(rows: pd.DataFrame) -> pd.DataFrame:
    """The signed change of accuracy against the teacher of the same seed and training.

    One row a run and protocol: the run's key, seed, protocol, accuracy, change.
    """
    parts = []
    for name in (column for column in rows.columns if column.startswith("accuracy_")):
        teacher = rows[rows.method == "teacher"].set_index(["training", "seed"])[name]
        own = rows[rows.method != "teacher"]
        before = teacher.reindex(pd.MultiIndex.from_frame(own[["training", "seed"]])).to_numpy()
        parts.append(
            own[[*RUN, "seed"]].assign(
                protocol=name.removeprefix("accuracy_"),
                accuracy=own[name],
                change=own[name].to_numpy() - before,
            )
        )
    return pd.concat(parts, ignore_index=True).dropna(subset="change")


def change_table(changed: pd.DataFrame) -> pd.DataFrame:
    """Mean change of each run with its 95 % t-interval over seeds, and against its control.

    `change`, `low`, `high`, `p` (two-sided paired t-test against no change); where the same method
    ran on as many pictures drawn at random, `against_random`, `against_low`, `against_high` and
    `against_p` compare with it, seed by seed. No correction for the number of runs is made.
    """
    lines = []
    for key, own in changed.groupby([*RUN, "protocol"], sort=False):
        named = dict(zip([*RUN, "protocol"], key, strict=True))
        line = {**named, "seeds": len(own), **_tested(own.change.to_numpy())}
        if named["method"] in AGAINST_RANDOM and named["order"] != "random":
            control = changed[
                (changed.training == named["training"])
                & (changed.method == named["method"])
                & (changed.order == "random")
                & (changed.fraction == named["fraction"])
                & (changed.protocol == named["protocol"])
            ]
            both = own.merge(control, on="seed", suffixes=("", "_random"))
            if len(both):
                tested = _tested((both.change - both.change_random).to_numpy())
                line |= {
                    "against_random": tested["change"],
                    "against_low": tested["low"],
                    "against_high": tested["high"],
                    "against_p": tested["p"],
                }
        lines.append(line)
    return pd.DataFrame(lines)


def group_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Whom it falls on: group, method, fraction, share of its pictures chosen, accuracy change.

    Natural training, order "lowest", means over the seeds. `chosen_ratio` is the group's rate over
    that of all pictures: 1 where the choice is blind to the group.
    """
    own = rows[(rows.training == "natural") & (rows.order == "lowest")]
    teacher = rows[(rows.training == "natural") & (rows.method == "teacher")].set_index("seed")
    lines = []
    for column in [c for c in rows.columns if c.startswith("chosen.")]:
        group = column.removeprefix("chosen.")
        accuracy = f"accuracy.{group}"
        for (method, fraction), runs in own.groupby(["method", "fraction"]):
            change = np.nan
            if accuracy in rows:
                before = teacher[accuracy].reindex(runs.seed).to_numpy()
                change = float(np.nanmean(runs[accuracy].to_numpy() - before))
            lines.append(
                {
                    "group": group,
                    "method": method,
                    "fraction": fraction,
                    "chosen": runs[column].mean(),
                    "chosen_ratio": (runs[column] / (runs.forgotten / runs.images)).mean(),
                    "accuracy_before": float(teacher[accuracy].mean())
                    if accuracy in rows
                    else np.nan,
                    "accuracy_change": change,
                }
            )
    return pd.DataFrame(lines)


def _tested(values: np.ndarray) -> dict[str, float]:
    from scipy.stats import ttest_1samp

    mean, low, high = difference_interval(values, "accuracy")
    varied = len(values) > 1 and np.ptp(values) > 0
    p = float(ttest_1samp(values, 0).pvalue) if varied else np.nan
    return {"change": mean, "low": low, "high": high, "p": p}
