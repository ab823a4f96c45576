import pytest

from cure_core.metrics.oracle_gap import tug_of_war

ORACLE = {"forget": 0.9, "retain": 0.95, "test": 0.8}


def test_the_oracle_itself_scores_one():
    assert tug_of_war(ORACLE, ORACLE) == 1


def test_by_hand():
    student = {"forget": 0.5, "retain": 0.85, "test": 0.9}
    assert tug_of_war(student, ORACLE) == pytest.approx(0.6 * 0.9 * 0.9)
    assert tug_of_war(student, ORACLE, sets=["retain"]) == pytest.approx(0.9)


def test_missing_sets_and_bad_values_are_named():
    with pytest.raises(ValueError, match="oracle lacks 'test'"):
        tug_of_war(ORACLE, {"forget": 0.9, "retain": 0.9})
    with pytest.raises(ValueError, match=r"accuracy\['retain'\] is nan"):
        tug_of_war({**ORACLE, "retain": float("nan")}, ORACLE)
