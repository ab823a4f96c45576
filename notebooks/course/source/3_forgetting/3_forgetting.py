# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lesson 3: what forgetting means
#
# **Aims.** At the end you can
#
# - say in plain words what the law's "right to erasure" asks, and what it leaves open;
# - tell two notions of forgetting apart, and say why the *oracle* matters;
# - recognise under- and over-forgetting, and say why one accuracy misleads.
#
# **Time:** 75 minutes, of which the computer takes about one. Lessons 1 and 2 come first.

# %%
import numpy as np
import pandas as pd
import torch
from torch import nn

from cure_core.metrics import oracle_gap, ues
from cure_study import figures
from cure_study.course.lesson_case import draw_case
from cure_study.evaluation.evaluate import accuracies
from cure_study.evaluation.space import Space
from cure_study.experiments import study

case = draw_case()
teacher = study.train_teacher(case, progress=True).encoder
case.request

# %% [markdown]
# ## 1. The right to erasure, in plain words
#
# *This is a reader's summary, not legal advice; laws differ from place to place, and courts decide.*
#
# Article 17 of the EU's General Data Protection Regulation (GDPR) gives a person the right to have
# their personal data erased, "without undue delay", in certain cases: among others when the data are no
# longer needed for what they were collected for, when the person takes back a consent on which the
# processing rested (and no other legal ground remains), when they object and nothing weightier stands
# against it, or when the processing was unlawful from the start. The right has limits, which the same
# article lists: freedom of expression, legal duties, public health, archives and research under
# conditions, legal claims.
#
# Images of faces deserve extra care. Where they are processed to *identify* somebody, they are
# biometric data, one of the special categories of Article 9, which may be processed only on few grounds.
#
# What does this mean for a *trained model*? The article speaks of data, not of weights. Deleting an image
# from a disk is clear. Whether an encoder that was trained on it still "holds" personal data is argued
# about: the European Data Protection Board says (Opinion 28/2024) that a model trained on personal data
# is not in every case anonymous, and that it must be looked at case by case, by asking among other things
# how likely it is that somebody gets personal data out of it. That likelihood is something one can
# **measure**; lesson 2 did.
#
# **Think.** Somebody asks you to erase them from an encoder. Write down, in one sentence, what you would
# check before you answer "done". Keep the sentence.
#
# ## 2. The oracle
#
# The honest way is to train again, from the same start, without those images. We call the result
# the **oracle**. It is what nobody wants to pay for, which is why unlearning exists, and it is the best
# answer we have to "what would the encoder be if it had never seen them?"
#
# **Predict.** Verification accuracy on pairs of the *forgotten* people, at each model's best threshold
# (0.5 is chance): high for the teacher. And for the oracle, which never saw them: 0.5, or more?

# %%
oracle = study.train_oracle(case, progress=True).encoder
models = {"teacher": teacher, "oracle": oracle}
spaces = {name: Space(case.protocol, model, progress=False) for name, model in models.items()}
pd.DataFrame({name: accuracies(space) for name, space in spaces.items()}).round(3)

# %% [markdown]
# Far above chance. A good encoder recognises people it never saw; that is what it is *for*. So there are
# two different things that "forgotten" can mean, and they are not to be mixed in one sentence:
#
# - **Erasure:** the person is no longer recognisable. Chance is the goal.
# - **Indistinguishability:** the encoder behaves as if it had never seen the person. The oracle is the goal.
#
# Erasure goes *beyond* what retraining would do. Whether that is wanted depends on who asks, and why.
#
# ## 3. A score for erasure
#
# Let $A_f$ be the accuracy on forget pairs. Of what the encoder could do above chance, $A_f^{before} - 1/2$,
# which share is gone?
#
# $$F = \frac{A_f^{before} - A_f^{after}}{A_f^{before} - 1/2}, \qquad \text{cut to } [0, 1].$$
#
# ### Exercise 1: forgetting (2 points)


# %% nbgrader={"grade": false, "grade_id": "forgetting", "locked": false, "schema_version": 3, "solution": true, "task": false}
def forgetting(before, after):
    """F, from the forget accuracy before (above 1/2) and after; a float in [0, 1]."""
    ### BEGIN SOLUTION
    return min(max((before - after) / (before - 0.5), 0.0), 1.0)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_forgetting", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert abs(forgetting(0.9, 0.7) - 0.5) < 1e-9
### BEGIN HIDDEN TESTS
assert forgetting(0.9, 0.9) == 0
assert forgetting(0.9, 0.95) == 0, "it cannot be negative"
assert forgetting(0.9, 0.45) == 1, "below chance is no more than forgotten"
assert abs(forgetting(0.75, 0.7) - 0.2) < 1e-9
### END HIDDEN TESTS

# %% [markdown]
# **Predict.** An encoder that answers *the same embedding for every image*: what is its F? Would you buy
# it? The next cell builds it.


# %%
class Collapsed(nn.Module):
    """Every image is the same to it."""

    def forward(self, images):
        return torch.ones(len(images), 64)


student = study.forget(case, study.train_teacher(case), progress=True).student
models |= {"student": student}
spaces["student"] = Space(case.protocol, student)
pairs, folds = case.protocol.pairs, case.protocol.folds
table = pd.DataFrame({name: accuracies(space) for name, space in spaces.items()})
table["collapsed"] = 0.5  # all scores tie, so every threshold accepts all or none
table.round(3)

# %% [markdown]
# Perfect forgetting, and perfectly useless. One accuracy alone misleads: it does not say what *else* was
# lost. So a second factor looks at everything that should have stayed. For each kept set (retained people,
# unseen people):
#
# $$s = 1 - \frac{|A^{after} - A^{before}|}{A^{before} - 1/2}, \qquad \text{cut to } [0, 1],$$
#
# and **stability** S is the product of them. The score of this project is $UES = F \times S$.
#
# ### Exercise 2: UES (3 points)
#
# `before` and `after` are dictionaries from "forget", "retain" and "test" to accuracies. Call your
# `forgetting`, or write it out.


# %% nbgrader={"grade": false, "grade_id": "score", "locked": false, "schema_version": 3, "solution": true, "task": false}
def score(before, after):
    """UES = F x S, a float in [0, 1]."""
    ### BEGIN SOLUTION
    stability = 1.0
    for name in ("retain", "test"):
        moved = abs(after[name] - before[name]) / (before[name] - 0.5)
        stability *= min(max(1 - moved, 0), 1)
    return forgetting(before["forget"], after["forget"]) * stability
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_score", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
### BEGIN HIDDEN TESTS
def forgetting(before, after):  # a mistake in exercise 1 does not cost this one too
    return min(max((before - after) / (before - 0.5), 0.0), 1.0)


### END HIDDEN TESTS
start = {"forget": 0.9, "retain": 0.9, "test": 0.8}
assert score(start, start) == 0, "nothing forgotten"
assert score(start, dict.fromkeys(start, 0.5)) == 0, "all forgotten"
### BEGIN HIDDEN TESTS
draws_ = np.random.default_rng(0)
for _ in range(20):
    b_ = {name: draws_.uniform(0.6, 1) for name in start}
    a_ = {name: draws_.uniform(0.4, 1) for name in start}
    theirs_ = ues.unlearning_efficiency_score(b_, a_).score
    assert abs(score(b_, a_) - theirs_) < 1e-9, (b_, a_)
better_ = dict(start, test=0.9)
assert abs(score(start, dict(better_, forget=0.5)) - 2 / 3) < 1e-9, "a rise is a move too"
### END HIDDEN TESTS

# %% [markdown]
# **Predict** the order of these four by UES, then look at accuracy and think of the other notion:
# which of them is the nearest to the oracle?

# %%
figure = figures.StudyFigure(figsize=(5, 2.6), layout="constrained")
axes = figure.subplots()
for shift, (name, colour) in enumerate(
    zip(table, ("#0072B2", "#009E73", "#D55E00", "#999999"), strict=True)
):
    axes.bar(np.arange(3) + 0.2 * shift - 0.3, table[name], 0.2, label=name, color=colour)
axes.axhline(0.5, color="0.3", linestyle="--", linewidth=0.8)
axes.set(ylabel="accuracy", ylim=(0.4, 1), xticks=range(3))
axes.set_xticklabels(["forget", "retain", "unseen"])
axes.legend(frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.15))
figure

# %% [markdown]
# ## 4. A score for indistinguishability
#
# **ToW**, "tug of war", compares with the oracle instead of with chance: the product over the three sets of
# $1 - |A - A^{oracle}|$. It is 1 for the oracle itself.
#
# ### Exercise 3: tug of war (2 points)


# %% nbgrader={"grade": false, "grade_id": "tug_of_war", "locked": false, "schema_version": 3, "solution": true, "task": false}
def tug_of_war(model, oracle):
    """Product over the sets of 1 - |A - A_oracle|; both map the same names to accuracies."""
    ### BEGIN SOLUTION
    return float(np.prod([1 - abs(model[name] - oracle[name]) for name in oracle]))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_tug_of_war", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert tug_of_war(start, start) == 1
### BEGIN HIDDEN TESTS
draws_ = np.random.default_rng(0)
for _ in range(5):
    a_, b_ = ({name: draws_.uniform(0.5, 1) for name in start} for _ in range(2))
    expected_ = np.prod([1 - abs(a_[name] - b_[name]) for name in start])
    assert abs(tug_of_war(a_, b_) - expected_) < 1e-9
    assert abs(expected_ - oracle_gap.tug_of_war(a_, b_)) < 1e-9
### END HIDDEN TESTS

# %%
measures = {
    "ToW": [oracle_gap.tug_of_war(table[m].to_dict(), table.oracle.to_dict()) for m in table]
}
if (table.teacher > 0.5).all():  # else there is nothing to forget
    before = table.teacher.to_dict()
    measures["UES"] = [
        ues.unlearning_efficiency_score(before, table[m].to_dict()).score for m in table
    ]
pd.DataFrame(measures, index=table.columns).T.round(3)

# %% [markdown]
# Compare the two rows. The same models, two different winners (the oracle wins the first by definition): a
# score is a *question*, and you must know which one was asked.
#
# ## 5. Over and under
#
# Lesson 2's attack gives a second look. Recall on the forget set says how many of its images are still
# called members. The teacher's is high. **Predict:** what should it be for a model that has forgotten
# *just right*: zero?

# %%
recalls = {name: space.membership for name, space in spaces.items()}
pd.DataFrame(recalls).loc[["membership_recall", "membership_auc"]].round(3)

# %% [markdown]
# Not zero: as high as the oracle's, since the attack also calls some images members that nobody ever
# trained on. A student far **above** the oracle has **under-forgotten**: traces are left. A student far
# **below** it has **over-forgotten**: its forget images are *stranger than strangers*, and anyone who looks
# for that finds the very people who asked to disappear.
#
# ### Exercise 4: a verdict (2 points)


# %% nbgrader={"grade": false, "grade_id": "verdict", "locked": false, "schema_version": 3, "solution": true, "task": false}
def verdict(recall, oracle_recall, margin):
    """ "under-forgotten", "over-forgotten", or "like the oracle" where they differ by at most margin."""
    ### BEGIN SOLUTION
    if recall > oracle_recall + margin:
        return "under-forgotten"
    if recall < oracle_recall - margin:
        return "over-forgotten"
    return "like the oracle"
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_verdict", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert verdict(0.9, 0.5, 0.1) == "under-forgotten"
### BEGIN HIDDEN TESTS
assert verdict(0.0, 0.5, 0.1) == "over-forgotten"
assert verdict(0.5, 0.5, 0.1) == "like the oracle"
assert verdict(0.75, 0.5, 0.25) == "like the oracle", "at most the margin"
assert verdict(0.25, 0.5, 0.25) == "like the oracle", "at most the margin"
### END HIDDEN TESTS

# %% [markdown]
# ### Exercise 5: reading a claim (1 point)
#
# A paper writes: "membership recall after unlearning is 0.01, the lowest of all methods." The oracle's is
# 0.50, and the attack's AUC 0.8. What follows? Set `claim` to "a", "b" or "c".
#
# - "a": the method forgets best
# - "b": the method over-forgets, and an auditor can see it
# - "c": nothing, because the attack does not work

# %% nbgrader={"grade": false, "grade_id": "claim", "locked": false, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
claim = "b"
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "test_claim", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
assert claim in ("a", "b", "c")
### BEGIN HIDDEN TESTS
assert claim == "b"
### END HIDDEN TESTS

# %% [markdown]
# Take out the sentence you wrote in part 1. Would you change it?
#
# ## What to take away
#
# - "Forgotten" has two meanings: not recognisable, or as if never seen. Say which.
# - The oracle still recognises the forgotten; it is the yardstick for the second meaning.
# - No score without what was lost elsewhere; no membership recall without the oracle's.
#
# ## Further reading
#
# - GDPR, Articles 9 and 17, and EDPB Opinion 28/2024: short, and readable.
# - Cao and Yang, *Towards Making Systems Forget with Machine Unlearning* (IEEE S&P 2015): where the
#   problem was posed.
# - Bourtoule et al., *Machine Unlearning* (2021), arXiv:1912.03817: SISA, exact unlearning by training
#   on shards, of which only one is trained again.
# - Zhao et al., *What makes unlearning hard* (2024), arXiv:2406.01257: ToW.
