"""The figures of the attacks, by hand-made rows."""

import numpy as np
import pandas as pd
import pytest
from attack_rows import MODELS, row, rows

from cure_study.figures.attacks import (
    draw_collateral,
    draw_hidden,
    draw_membership_attacks,
    draw_recovery,
)
from cure_study.figures.attacks_by_method import ATTACKS, draw_attacks_by_method
from cure_study.figures.style import MODEL_NAMES


@pytest.mark.parametrize("seeds", [1, 2])
def test_membership_figure_shows_means_and_each_seeds_interval(seeds):
    data = rows(seeds)
    auc, recall = draw_membership_attacks(data).axes
    labels = MODEL_NAMES.values()
    drawn = [line.get_xdata()[0] for line in auc.lines if line.get_label() in labels]
    means = data[data.metric == "auc"].groupby("model").value.mean()
    assert drawn == pytest.approx([means[model] for model in MODELS])
    spans = [s[:, 0].tolist() for c in auc.collections for s in c.get_segments()]
    assert len(spans) == 3 * seeds
    assert [0.1, pytest.approx(0.3)] in spans
    assert auc.get_yticklabels()[0].get_text() == "norm"
    assert recall.get_xlabel() == "forget images called members"


def test_the_figure_of_hidden_people_has_a_panel_a_question_and_a_mean_a_model():
    data = pd.DataFrame(
        [
            row(attack, metric, value + seed / 10, model, seed=seed)
            for attack, metric, value in (
                ("as_it_is", "rank1_old_gallery", 0.1), ("linear_map", "rank1_old_gallery", 0.5),
                ("as_it_is", "rank1_old_probe", 0.3), ("oddness", "auc", 0.7),
            )
            for model in ("after", "oracle") for seed in (0, 1)
        ]
    )  # fmt: skip
    gallery, probe, auc = draw_hidden(data).axes
    means = [
        line.get_xdata().tolist()
        for line in gallery.lines
        if line.get_label() == MODEL_NAMES["after"]
    ]
    assert means == [pytest.approx([0.15, 0.55])]
    assert [text.get_text() for text in gallery.get_yticklabels()] == [
        "unchanged",
        "after a linear map",
    ]
    assert [text.get_text() for text in auc.get_yticklabels()] == ["without examples"]
    assert len(probe.lines) == 4  # two models, their seeds and their mean


def test_recovery_figure_has_a_panel_a_curve_and_a_line_a_model():
    shots, steps = draw_recovery(rows(seeds=2)).axes
    means = [line for line in shots.lines if line.get_label() in MODEL_NAMES.values()]
    assert [line.get_xdata().tolist() for line in means] == [[1, 5]] * 3
    (after,) = [line for line in steps.lines if line.get_label() == MODEL_NAMES["after"]]
    assert after.get_ydata().tolist() == pytest.approx([0.45] * 3)
    assert steps.get_xlabel() == "steps on 2 images each"


def test_collateral_figure_has_a_point_a_person():
    people = pd.DataFrame(
        {"model": ["after"] * 3 + ["oracle"] * 2, "nearness": range(5), "movement": range(5, 10)}
    )
    (ax,) = draw_collateral(people).axes
    points = [c.get_offsets().tolist() for c in ax.collections]
    assert points == [[[0, 5], [1, 6], [2, 7]], [[3, 8], [4, 9]]]


def test_methods_stand_at_their_means_with_lines_of_oracle_and_teacher():
    """Means by hand of two seeds; the teacher moves no one, so it has no line there."""
    values = {"cure": (0.2, 0.4), "scrub": (0.6, 0.8), "oracle": (0.5, 0.7), "teacher": (0.9, 0.9)}
    table = pd.DataFrame(
        {
            "dataset": "synthfaces",
            "seed": seed,
            "method": method,
            **dict.fromkeys(ATTACKS, each[seed]),
        }
        for method, each in values.items()
        for seed in (0, 1)
    )
    for _, before in ATTACKS.values():
        if before is not None:
            table[before] = 0.1
    table.loc[table.method == "teacher", "collateral_spearman"] = np.nan
    axes = draw_attacks_by_method(table).axes
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["CURE", "SCRUB"]
    for ax, (name, (_, before)) in zip(axes, ATTACKS.items(), strict=True):
        marks = [
            (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
            for line in ax.lines
            if line.get_marker() == "o" and line.get_markerfacecolor() != "white"
        ]
        assert marks == [(pytest.approx(0.3), 0), (pytest.approx(0.7), 1)]
        hollow = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
        assert [line.get_xdata()[0] for line in hollow] == [0.1] * (2 if before else 0)
        lines = [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() in (":", "--")]
        assert lines == pytest.approx([0.6] if name == "collateral_spearman" else [0.6, 0.9])
