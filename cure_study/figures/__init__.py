"""Every figure of the study: drawn from a tidy table, returned as an object to restyle."""

from collections.abc import Callable

import pandas as pd
from matplotlib.figure import Figure

from cure_study.figures import (
    ablations,
    attacks,
    attacks_by_method,
    clusters,
    comparison,
    cost,
    frontier,
    maps,
    measures,
    quality,
    requests_in_a_row,
    scores,
    sensitivity,
)
from cure_study.figures.attacks import MEMBERSHIP, WAYS
from cure_study.figures.framework import draw_framework
from cure_study.figures.measures import MEASURES, measure_table
from cure_study.figures.scores import roc_table, score_histogram
from cure_study.figures.sheets import (
    decile_table,
    draw_cluster_faces,
    draw_faces,
    draw_quality_deciles,
)
from cure_study.figures.style import COLOURS, COLUMN, MARKERS, PAGE, STYLE, StudyFigure, save_figure

__all__ = [
    "COLOURS", "COLUMN", "FIGURES", "MARKERS", "MEASURES", "MEMBERSHIP", "PAGE", "STYLE", "WAYS",
    "StudyFigure", "decile_table", "draw", "draw_cluster_faces", "draw_faces", "draw_framework",
    "draw_quality_deciles", "drawable", "measure_table", "roc_table", "save_figure",
    "score_histogram",
]  # fmt: skip

FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "score_distributions": scores.draw_scores,
    "measures": measures.draw_measures,
    "roc": scores.draw_roc,
    "loss_terms": measures.draw_losses,
    "cluster_criteria": clusters.draw_criteria,
    "cluster_agreement": clusters.draw_agreement,
    "cluster_sizes": clusters.draw_sizes,
    "farthest_map": clusters.draw_farthest_map,
    "cluster_drift": clusters.draw_drift,
    "sensitivity": sensitivity.draw_sensitivity,
    "map_joint": maps.draw_map,
    "map_placed": maps.draw_map,
    "map_moves": maps.draw_moves,
    "map_clusters": maps.draw_map_clusters,
    "comparison": comparison.draw_comparison,
    "comparison_new_images": comparison.draw_new_images,
    "comparison_membership": comparison.draw_membership,
    "attacks": attacks_by_method.draw_attacks_by_method,
    "two_goals": frontier.draw_two_goals,
    "frontier": frontier.draw_frontier,
    "frontier_all": frontier.draw_all_frontiers,
    "ablations_cure": ablations.draw_cure_ablations,
    "ablations_variants": ablations.draw_variant_ablations,
    "label_noise": ablations.draw_label_noise,
    "membership_attacks": attacks.draw_membership_attacks,
    "hidden": attacks.draw_hidden,
    "recovery": attacks.draw_recovery,
    "collateral": attacks.draw_collateral,
    "cost": cost.draw_cost,
    "quality_scores": quality.draw_quality_scores,
    "quality_discard": quality.draw_quality_discard,
    "quality_accuracy": quality.draw_quality_accuracy,
    "requests_in_a_row": requests_in_a_row.draw_requests_in_a_row,
}
# Whether a table that several figures share has rows for the figure.
HAS_ROWS: dict[str, Callable[[pd.DataFrame], bool]] = {
    "ablations_cure": ablations.has_cure_ablations,
    "ablations_variants": ablations.has_variant_ablations,
    "comparison": comparison.has_comparison,
    "comparison_membership": comparison.has_comparison,
    "comparison_new_images": comparison.has_new_images,
    "frontier": frontier.has_frontier,
    "frontier_all": frontier.has_frontier,
    "two_goals": frontier.has_two_goals,
    "label_noise": ablations.has_label_noise,
}


def drawable(name: str, data: pd.DataFrame) -> bool:
    """Whether a table has what the named figure shows."""
    return len(data) > 0 and (name not in HAS_ROWS or HAS_ROWS[name](data))


def draw(name: str, data: pd.DataFrame) -> Figure:
    """The named figure from its table; the names are the keys of `FIGURES`."""
    return FIGURES[name](data)
