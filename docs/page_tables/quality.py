"""The tables of forgetting by quality."""

from collections.abc import Callable

import pandas as pd

from cure_study.figures.quality import less_random
from page_tables.rows import DATASETS, change, read

PROTOCOLS = {"unseen": "any age", "cross_age": "30 years apart"}
SCORERS = {
    "fused": "fused score (image alone)",
    "norm": "feature norm",
    "cluster_margin": "cluster margin",
    "random": "random order",
    "oracle": "best possible order",
}


def against_random() -> pd.DataFrame:
    """Accuracy after forgetting the lowest quality minus as many random images, in points."""
    rows = read("quality_accuracy")
    rows = rows[rows.training == "natural"]
    lines = []
    for method, name in (("cure_plus", "CURE+"), ("oracle", "retraining")):
        for fraction in sorted(rows.fraction.unique()):
            line = {"lowest quality removed by": name, "images": f"{100 * fraction:g} %"}
            for protocol, title in PROTOCOLS.items():
                less = less_random(rows[rows.protocol == protocol], method, "lowest")
                less = less[less.fraction == fraction].less if len(less) else less
                line[f"unseen people, {title}"] = (
                    change(100 * less, "points", 1) if len(less) else ""
                )
            if line[f"unseen people, {PROTOCOLS['unseen']}"]:
                lines.append(line)
    return pd.DataFrame(lines)


def planted() -> pd.DataFrame:
    """Change of accuracy against the teacher when corrupted images are forgotten, in points."""
    rows = read("quality_accuracy")
    rows = rows[rows.training == "planted"]
    names = {
        ("cure", "planted"): "CURE",
        ("cure_plus", "planted"): "CURE+",
        ("fine_tune", "planted"): "fine-tuning without them",
        ("oracle", "planted"): "retraining without them",
        ("oracle", "random"): "retraining without as many random images",
    }
    lines = []
    for (method, order), name in names.items():
        case = rows[(rows.method == method) & (rows.order == order)]
        line = {"a fifth of the images corrupted": name}
        for protocol, title in PROTOCOLS.items():
            line[f"unseen people, {title}"] = change(
                100 * case[case.protocol == protocol].change, "points", 1
            )
        lines.append(line)
    return pd.DataFrame(lines)


def fairness() -> pd.DataFrame:
    """Share of a group's images among the lowest-quality fifth, as a multiple of a fifth."""
    rows = read("quality_rows")
    rows = rows[(rows.training == "natural") & (rows.order == "lowest") & (rows.fraction == 0.2)]
    rows = rows[rows.method == "cure_plus"]
    # The order by cluster margin is the setting in which dark skin is chosen most.
    dark = rows.groupby("setting")["chosen.tone.dark"].mean()
    orders = {dark.idxmin(): "fused score", dark.idxmax(): "cluster margin"}
    lines = []
    for setting, name in orders.items():
        line = {"order": name}
        for group in ("light", "medium", "dark"):
            values = rows[rows.setting == setting][f"chosen.tone.{group}"] / 0.2
            low, high = values.min(), values.max()
            line[f"{group} skin"] = f"{values.mean():.2f} ({low:.2f} to {high:.2f})"
        lines.append(line)
    return pd.DataFrame(lines)


def discard() -> pd.DataFrame:
    """Area under the error-discard curve, relative to discarding nothing; lower is better."""
    rows = read("quality_discard").drop_duplicates(["dataset", "scorer"])
    areas = rows.pivot(index="scorer", columns="dataset", values="area")
    return pd.DataFrame(
        {
            "order of discarding": name,
            **{DATASETS[d]: f"{areas.loc[scorer, d]:.2f}" for d in ("lfw", "synthfaces")},
        }
        for scorer, name in SCORERS.items()
    )


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "quality-random": against_random,
    "quality-planted": planted,
    "quality-fairness": fairness,
    "quality-discard": discard,
}
