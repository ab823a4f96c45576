"""Attack rows as a table to read."""

import numpy as np
import pandas as pd
from attack_rows import MODELS, row, rows

from cure_study.experiments.attacks.table import summarise_attacks


def test_one_seed_is_shown_with_its_interval():
    table = summarise_attacks(rows())
    assert list(table) == list(MODELS)
    assert table.loc[("norm", "auc", ""), "after"] == "0.400 [0.300, 0.500]"
    assert table.loc[("few_shot", "rank1", "5"), "oracle"] == "0.600"
    assert len(table) == 2 + 2 + 3 + 2  # the last two say what the marks mean


def test_several_seeds_are_shown_as_mean_and_interval():
    """Two values 0.1 apart: mean half-way, bounds at (m - mu)^2 = t^2 phi mu (1 - mu) / 2."""
    table = summarise_attacks(rows(seeds=2))
    cell = table.loc[("few_shot", "rank1", "1"), "after"]
    pull = 12.7062**2 * 0.005 / (0.45 * 0.55) / 2
    low, high = sorted(np.roots([1 + pull, -0.9 - pull, 0.45**2]))
    assert cell == f"0.450 [{low:.3f}, {high:.3f}]; 0.400, 0.500"


def test_a_detectable_recall_is_marked_and_explained():
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


def test_a_measure_that_a_model_lacks_is_left_empty():
    table = summarise_attacks(pd.DataFrame([row("a", "auc", 0.5), row("b", "auc", 0.5, "oracle")]))
    assert table.loc[("a", "auc", ""), "oracle"] == ""


def test_a_low_recall_of_an_attack_at_chance_is_not_detectable():
    table = pd.DataFrame(
        [
            row("views", "recall", 0.1), row("views", "recall", 0.5, "oracle"),
            row("views", "auc", 0.5), row("views", "auc", 0.5, "oracle"),
        ]
    )  # fmt: skip
    assert not summarise_attacks(table).map(lambda cell: "†" in str(cell)).to_numpy().any()
