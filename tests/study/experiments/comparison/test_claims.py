"""The claims of rank, on rows by hand."""

import numpy as np
from comparison_rows import CLEAR, SCORES, one_seed, rows

from cure_study.experiments.comparison.claims import against_paper, verdicts
from cure_study.experiments.comparison.tables import readable, summary

UES = "highest UES of the label-free methods"
RECALL = "lowest membership recall"


def by_claim(table):
    return against_paper(table).set_index(["method", "claim"])


def recalls(table):
    found = against_paper(table)
    return found[found.claim == RECALL].set_index("method").verdict


def test_a_verdict_needs_the_whole_interval_above_every_peers():
    found = verdicts(summary(rows())).set_index("method")
    assert list(found.peer) == ["laf", "laf"]
    assert not found.above.any()  # laf's interval is wide
    assert found.decided.all()
    found = verdicts(summary(rows(CLEAR))).set_index("method")
    assert found.above.to_dict() == {"cure_scatter": True, "cure": False}
    assert found.closer.all()
    chance = rows(CLEAR)
    chance.loc[chance.method == "cure", "membership_auc"] = 0.54  # its recall means nothing
    found = verdicts(summary(chance)).set_index("method")
    assert found[["meaningful", "closer"]].loc["cure"].to_list() == [False, False]
    assert found[["meaningful", "closer"]].loc["cure_scatter"].to_list() == [True, True]
    at_chance = recalls(summary(chance)) == "undecided: the attack is at chance"
    assert at_chance.to_dict() == {"cure_scatter": False, "cure": True}


def test_one_seed_decides_nothing():
    """Without intervals they neither overlap nor are they separate."""
    table = summary(one_seed())
    verdict = by_claim(table).verdict
    assert verdict["cure_scatter", UES] == "holds by the mean, undecided: one seed, no interval"
    assert not verdict.str.contains("overlap").any()
    assert not verdicts(table)[["decided", "above"]].any(axis=None)
    equal = {**SCORES, ("random_people", "laf"): [0.3, 0.3, 0.3]}
    found = against_paper(summary(rows(equal))).verdict
    assert "holds by the mean, undecided: seeds all the same, no interval" in set(found)


def test_a_recall_far_below_the_oracles_is_no_success():
    table = rows()
    table["membership_recall"] = table.membership_recall.mask(table.method == "cure", 0.1)
    assert "detectable" in recalls(summary(table))["cure"]


def test_a_missing_value_leaves_only_its_cell_empty():
    table = rows()
    table.loc[table.method == "laf", "membership_recall"] = np.nan
    table = summary(table)
    assert table.set_index("method").recall.isna().to_dict()["laf"]
    assert len(readable(table)) == 5
    assert len(against_paper(table)) == 6
    assert len(verdicts(table)) == 2


def test_a_claim_is_about_the_mean_and_says_if_intervals_overlap():
    found = by_claim(summary(rows()))
    peers = list(found["best peer"].str.split().str[0])
    assert peers == ["laf", "scrub", "laf"] * 2  # laf has no new images, scrub a higher recall
    assert found.verdict["cure", UES] == "holds, intervals overlap"
    assert found.verdict["cure_scatter", RECALL].startswith("does not hold")
    assert by_claim(summary(rows(CLEAR))).verdict["cure_scatter", UES] == "holds"


def test_a_recall_counts_only_if_the_attack_works():
    table = rows()
    chance = table.assign(membership_auc=table.membership_auc.mask(table.method == "scrub", 0.51))
    for given, closest in ((table, "scrub"), (chance, "laf")):
        found = summary(given)
        assert list(found.method) == ["cure_scatter", "cure", "laf", "scrub", "oracle"]
        found = verdicts(found.assign(gap=[0.4, 0.3, 0.2, 0.1, 0.0]))  # in the order of UES
        assert set(found.closest) == {closest}
    blind = summary(table.assign(membership_auc_oracle=0.54))  # then no recall can be compared
    assert not blind.meaningful.any()
    assert not verdicts(blind).closer.any()
    assert set(recalls(blind)) == {"undecided: the attack is at chance"}


def test_no_claim_is_made_without_a_peer():
    alone = {key: values for key, values in SCORES.items() if key[1] == "cure"}
    assert against_paper(summary(rows(alone))).empty
