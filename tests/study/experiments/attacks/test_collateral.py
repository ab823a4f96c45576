import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from cure_study.experiments.attacks.collateral import collateral, collateral_correlation


def at(*degrees):
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_by_hand():
    """Ann's template is at 10 degrees, Bob's at 90; the forgotten are at 40 and at 200.

    Ann's images turn by 60 and 0 degrees, Bob's stays.
    """
    before, after = at(0, 90, 20), 3 * at(60, 90, 20)
    forgotten = at(30, 200, 50)
    table = collateral(before, after, ["ann", "bob", "ann"], forgotten, [1, 2, 1])
    assert table.person.tolist() == ["ann", "bob"]
    assert table.movement.tolist() == pytest.approx([0.25, 0])
    assert table.nearness.tolist() == pytest.approx(np.cos(np.deg2rad([30, 50])).tolist())


def table(seed, slope):
    rng = np.random.default_rng(seed)
    nearness = rng.uniform(size=80)
    movement = slope * nearness + rng.uniform(size=80)
    return pd.DataFrame({"person": np.arange(80), "movement": movement, "nearness": nearness})


def test_correlation_is_scipys():
    people = table(0, slope=1)
    found = collateral_correlation(people)
    assert found.value == pytest.approx(spearmanr(people.movement, people.nearness).statistic)
    assert 0 < found.low < found.value < found.high
    assert np.isnan(collateral_correlation(people, n_bootstrap=0).low)


def test_no_correlation_where_nearness_costs_nothing():
    found = [collateral_correlation(table(k, slope=0), n_bootstrap=100) for k in range(5)]
    assert sum(interval.low < 0 < interval.high for interval in found) >= 4


def test_people_who_all_stay_have_no_correlation():
    still = table(0, slope=1).assign(movement=0.0)
    assert np.isnan(collateral_correlation(still, n_bootstrap=0).value)


def test_unusable_embeddings_are_refused():
    with pytest.raises(ValueError, match=r"before is \(2, 2\), after \(1, 2\), with 2 labels"):
        collateral(at(0, 1), at(0), [1, 2], at(5), [3])
    with pytest.raises(ValueError, match="after holds NaN"):
        collateral(at(0, 1), at(0, np.nan), [1, 2], at(5), [3])
