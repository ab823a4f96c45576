"""The tables of the attacks."""

from collections.abc import Callable, Iterable
from functools import partial

import pandas as pd

from cure_study.experiments.comparison.methods import in_order
from page_tables.rows import DATASETS, each_seed, label, read

# a column of figures/attacks.csv: its title
DETECTION = {"told_apart_auc": "detection AUC, known examples", "oddness_auc": "without examples"}
MATCHING = {
    "as_it_is_rank1_old_gallery": "old gallery, rank-1",
    "linear_map_rank1_old_gallery": "after a linear map",
    "few_shot_fresh_rank1_1": "re-enrolled by one new image",
    "relearning_3_accuracy": "accuracy after relearning on three images",
}


def by_method(
    dataset: str, columns: dict[str, str], methods: Iterable[str] | None = None
) -> pd.DataFrame:
    """Attacks on the student of each of `methods`, by default of all that were attacked.

    The values of the seeds; blank if not run.
    """
    rows = read("attacks")
    rows = rows[rows.dataset == dataset]
    lines = []
    for method in in_order(rows.method if methods is None else methods):
        line = {DATASETS[dataset]: label(method)}
        for column, title in columns.items():
            values = rows[rows.method == method][column]
            line[title] = each_seed(values) if values.notna().all() else ""
        lines.append(line)
    return pd.DataFrame(lines)


def own_study() -> pd.DataFrame:
    """The attacks of notebook 06 on teacher, student and oracle: the values of the seeds."""
    hidden, recovery = read("hidden"), read("recovery")
    shown = {
        "new images in the old gallery, rank-1": (hidden, "as_it_is", "rank1_old_gallery", None),
        "the same after a linear map": (hidden, "linear_map", "rank1_old_gallery", None),
        "old images in the new gallery, rank-1": (hidden, "as_it_is", "rank1_old_probe", None),
        "detection AUC, known examples": (hidden, "told_apart", "auc", None),
        "detection AUC, no examples": (hidden, "oddness", "auc", None),
        "re-enrolled by five forgotten images, rank-1": (recovery, "few_shot", "rank1", 5),
        "re-enrolled by two new images, rank-1": (recovery, "few_shot_fresh", "rank1", 2),
    }
    models = {"before": "teacher", "after": "CURE+", "oracle": "oracle"}
    lines = []
    for title, (rows, attack, metric, at) in shown.items():
        case = rows[(rows.attack == attack) & (rows.metric == metric)]
        case = case if at is None else case[case["at"] == at]
        line = {"SynthFaces": title}
        for model, name in models.items():
            line[name] = each_seed(case[case.model == model].value)
        lines.append(line)
    return pd.DataFrame(lines)


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "detection-synthfaces": partial(by_method, "synthfaces", DETECTION),
    "detection-lfw": partial(by_method, "lfw", DETECTION),
    "matching-synthfaces": partial(by_method, "synthfaces", MATCHING),
    "matching-lfw": partial(by_method, "lfw", MATCHING),
    "attacks-own": own_study,
}
