"""Every figure of the study: drawn from a tidy table, returned as an object to restyle."""

from collections.abc import Callable

import pandas as pd
from matplotlib.figure import Figure

from cure_study.figures.ablations import (
    draw_ablations,
    draw_label_noise,
    has_ablations,
    has_label_noise,
)
from cure_study.figures.attacked import draw_attacked
from cure_study.figures.attacks import (
    MEMBERSHIP,
    WAYS,
    draw_collateral,
    draw_hidden,
    draw_membership_attacks,
    draw_recovery,
)
from cure_study.figures.clusters import (
    draw_agreement,
    draw_criteria,
    draw_drift,
    draw_farthest_map,
    draw_sizes,
)
from cure_study.figures.comparison import (
    draw_comparison,
    draw_frontier,
    draw_membership,
    draw_new_pictures,
    has_comparison,
    has_frontier,
    has_new_pictures,
)
from cure_study.figures.cost import draw_cost
from cure_study.figures.framework import draw_framework
from cure_study.figures.maps import draw_map, draw_map_clusters, draw_moves, draw_pca
from cure_study.figures.measures import MEASURES, draw_losses, draw_measures, measure_table
from cure_study.figures.quality import (
    decile_table,
    draw_quality_accuracy,
    draw_quality_deciles,
    draw_quality_discard,
    draw_quality_scores,
)
from cure_study.figures.scores import draw_roc, draw_scores, roc_table, score_histogram
from cure_study.figures.sensitivity import draw_sensitivity
from cure_study.figures.sheets import draw_cluster_faces, draw_faces
from cure_study.figures.style import (
    COLOURS,
    COLUMN,
    DASHES,
    MARKERS,
    PAGE,
    SET_NAMES,
    STYLE,
    Picture,
    save_figure,
)

__all__ = [
    "COLOURS", "COLUMN", "DASHES", "DRAWN", "MARKERS", "MEASURES", "MEMBERSHIP", "PAGE",
    "SET_NAMES", "STYLE", "WAYS", "Picture", "decile_table", "draw", "draw_cluster_faces",
    "draw_faces", "draw_framework", "draw_quality_deciles", "drawable", "measure_table",
    "roc_table", "save_figure", "score_histogram",
]  # fmt: skip

DRAWN: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "score_distributions": draw_scores,
    "measures": draw_measures,
    "roc": draw_roc,
    "loss_terms": draw_losses,
    "cluster_criteria": draw_criteria,
    "cluster_agreement": draw_agreement,
    "cluster_sizes": draw_sizes,
    "farthest_map": draw_farthest_map,
    "cluster_drift": draw_drift,
    "sensitivity": draw_sensitivity,
    "map_joint": draw_map,
    "map_placed": draw_map,
    "map_pca": draw_pca,
    "map_moves": draw_moves,
    "map_clusters": draw_map_clusters,
    "comparison": draw_comparison,
    "comparison_new_pictures": draw_new_pictures,
    "comparison_membership": draw_membership,
    "attacks": draw_attacked,
    "frontier": draw_frontier,
    "ablations": draw_ablations,
    "label_noise": draw_label_noise,
    "membership_attacks": draw_membership_attacks,
    "hidden": draw_hidden,
    "recovery": draw_recovery,
    "collateral": draw_collateral,
    "cost": draw_cost,
    "quality_scores": draw_quality_scores,
    "quality_discard": draw_quality_discard,
    "quality_accuracy": draw_quality_accuracy,
}


# What a table that several figures share must hold for a figure to have something to show.
NEEDS: dict[str, Callable[[pd.DataFrame], bool]] = {
    "ablations": has_ablations,
    "comparison": has_comparison,
    "comparison_membership": has_comparison,
    "comparison_new_pictures": has_new_pictures,
    "frontier": has_frontier,
    "label_noise": has_label_noise,
}


def drawable(name: str, data: pd.DataFrame) -> bool:
    """Whether a table has what the named figure shows."""
    return len(data) > 0 and NEEDS.get(name, lambda _: True)(data)


def draw(name: str, data: pd.DataFrame) -> Figure:
    """The named figure from its table; the names are the keys of `DRAWN`."""
    return DRAWN[name](data)
