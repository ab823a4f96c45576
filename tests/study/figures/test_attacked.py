import numpy as np
import pandas as pd
import pytest

from cure_study.experiments.attacks.table import row as attack_row
from cure_study.experiments.attacks.table import summarise_attacks
from cure_study.figures.attacked import TRIED, draw_attacked
from cure_study.figures.attacks import (
    draw_collateral,
    draw_hidden,
    draw_membership_attacks,
    draw_recovery,
)

MODELS = ("before", "after", "oracle")


def row(attack, metric, value, model="after", at=np.nan, low=np.nan, high=np.nan, seed=0):
    return {
        "model": model, "set": "forget", "attack": attack, "metric": metric, "at": at,
        "value": value, "low": low, "high": high, "seed": seed,
    }  # fmt: skip


def rows(seeds=1):
    every = []
    for s in range(seeds):
        for k, model in enumerate(MODELS):
            value = 0.2 + 0.2 * k + 0.1 * s
            every += [
                row("norm", "auc", value, model, low=value - 0.1, high=value + 0.1, seed=s),
                row("norm", "recall", value, model, seed=s),
                *(row("few_shot", "rank1", value, model, at=n, seed=s) for n in (1, 5)),
                *(row("relearning_2", "accuracy", value, model, at=n, seed=s) for n in (0, 3, 6)),
            ]
    return pd.DataFrame(every)


def test_one_seed_is_told_with_its_interval():
    table = summarise_attacks(rows())
    assert list(table) == list(MODELS)
    assert table.loc[("norm", "auc", ""), "after"] == "0.400 [0.300, 0.500]"
    assert table.loc[("few_shot", "rank1", "5"), "oracle"] == "0.600"
    assert len(table) == 2 + 2 + 3 + 2  # the last two say what the marks mean


def test_several_seeds_are_told_as_mean_and_interval():
    """Two values 0.1 apart: mean half-way, bounds at (m - mu)^2 = t^2 phi mu (1 - mu) / 2."""
    table = summarise_attacks(rows(seeds=2))
    own = table.loc[("few_shot", "rank1", "1"), "after"]
    pull = 12.7062**2 * 0.005 / (0.45 * 0.55) / 2
    low, high = sorted(np.roots([1 + pull, -0.9 - pull, 0.45**2]))
    assert own == f"0.450 [{low:.3f}, {high:.3f}]; 0.400, 0.500"


def test_what_stands_out_is_marked_and_explained():
    """Far below the oracle's recall, or an AUC far below 1/2, is no success."""
    table = summarise_attacks(
        pd.DataFrame(
            [
                row("norm", "recall", 0.05), row("norm", "recall", 0.4, "oracle"),
                row("views", "recall", 0.25), row("views", "recall", 0.4, "oracle"),
                row("norm", "auc", 0.1), row("oddness", "auc", 0.45),
            ]
        )
    )  # fmt: skip
    after = table["after"]
    assert [cell.endswith("†") for cell in after] == [True, False, True, False, False]
    assert table.index[-1][0].startswith("†: detectable")


def test_what_a_model_lacks_is_left_empty():
    table = summarise_attacks(pd.DataFrame([row("a", "auc", 0.5), row("b", "auc", 0.5, "oracle")]))
    assert table.loc[("a", "auc", ""), "oracle"] == ""


@pytest.mark.parametrize("seeds", [1, 2])
def test_membership_figure_shows_means_and_each_seeds_interval(seeds):
    data = rows(seeds)
    auc, recall = draw_membership_attacks(data).axes
    drawn = [line.get_xdata()[0] for line in auc.lines if line.get_label() in MODELS]
    own = data[data.metric == "auc"].groupby("model").value.mean()
    assert drawn == pytest.approx([own[model] for model in MODELS])
    spans = [s[:, 0].tolist() for c in auc.collections for s in c.get_segments()]
    assert len(spans) == 3 * seeds
    assert [0.1, pytest.approx(0.3)] in spans
    assert auc.get_yticklabels()[0].get_text() == "norm"
    assert recall.get_xlabel() == "forget images called members"


def test_hidden_figure_has_a_panel_a_question_and_a_mean_a_model():
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
    means = [line.get_xdata().tolist() for line in gallery.lines if line.get_label() == "after"]
    assert means == [pytest.approx([0.15, 0.55])]
    assert [text.get_text() for text in gallery.get_yticklabels()] == [
        "as it is",
        "mapped linearly",
    ]
    assert [text.get_text() for text in auc.get_yticklabels()] == ["by oddness"]
    assert len(probe.lines) == 4  # two models, their seeds and their mean


def test_recovery_figure_has_a_panel_a_curve_and_a_line_a_model():
    shots, steps = draw_recovery(rows(seeds=2)).axes
    assert [line.get_xdata().tolist() for line in shots.lines] == [[1, 5]] * 3
    assert steps.lines[1].get_ydata().tolist() == pytest.approx([0.45] * 3)
    assert steps.get_xlabel() == "steps on 2 pictures each"


def test_collateral_figure_has_a_point_a_person():
    people = pd.DataFrame(
        {"model": ["after"] * 3 + ["oracle"] * 2, "nearness": range(5), "movement": range(5, 10)}
    )
    (ax,) = draw_collateral(people).axes
    points = [c.get_offsets().tolist() for c in ax.collections]
    assert points == [[[0, 5], [1, 6], [2, 7]], [[3, 8], [4, 9]]]


def test_the_attacked_stand_at_their_means_beside_oracle_and_teacher():
    """Means by hand of two seeds; nobody moves by the teacher itself, so it has no line there."""
    values = {"cure": (0.2, 0.4), "scrub": (0.6, 0.8), "oracle": (0.5, 0.7), "teacher": (0.9, 0.9)}
    table = pd.DataFrame(
        {
            "dataset": "synthfaces",
            "seed": seed,
            "method": method,
            **dict.fromkeys(TRIED, each[seed]),
        }
        for method, each in values.items()
        for seed in (0, 1)
    )
    for _, before in TRIED.values():
        if before is not None:
            table[before] = 0.1
    table.loc[table.method == "teacher", "collateral_spearman"] = np.nan
    axes = draw_attacked(table).axes
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["cure", "scrub"]
    for ax, (name, (_, before)) in zip(axes, TRIED.items(), strict=True):
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


def test_a_low_recall_of_an_attack_at_chance_is_not_detectable():
    rows = pd.DataFrame(
        [
            attack_row("views", "recall", 0.1) | {"model": "after"},
            attack_row("views", "auc", 0.5) | {"model": "after"},
            attack_row("views", "recall", 0.5) | {"model": "oracle"},
            attack_row("views", "auc", 0.5) | {"model": "oracle"},
        ]
    ).assign(seed=0)
    assert not summarise_attacks(rows).map(lambda cell: "†" in str(cell)).to_numpy().any()
