# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lesson 2: what a face encoder remembers
#
# **Aims.** At the end you can
#
# - say what *membership inference* is, and whom it hurts;
# - build such an attack from what an encoder gives away, and judge it fairly;
# - recognise an attack that only *seems* to work.
#
# **Time:** 75 minutes, of which the computer takes about one. Lesson 1 comes first.

# %%
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from cure_core.encoders.embedding import raw_embeddings
from cure_core.metrics.membership import membership_attack
from cure_study import figures
from cure_study.course.lesson_case import draw_case
from cure_study.evaluation.space import Space, half_resolution
from cure_study.experiments import study

case = draw_case()
teacher = study.train_teacher(case, progress=True).encoder
case

# %% [markdown]
# ## 1. The question
#
# A clinic trains a face encoder on its patients' images and sells it. You hold the encoder and a
# image of your neighbour. **Was that image in the training set?** If you can tell, you have learnt
# that your neighbour was a patient. This is *membership inference*. Nothing was hacked and no image
# was copied; the encoder itself gave it away.
#
# To ask whether an encoder has *forgotten* an image is to ask the same question again, afterwards.
# So we need an attack that works on the encoder before.
#
# We have three groups of images: **members** (trained on), **outsiders** (never seen; as many images
# of each person, drawn the same way), and the **forget** set, of which we pretend not to know.

# %%
protocol, identities = case.protocol, case.faces.identities
pd.Series(
    {
        "members": len(protocol.members),
        "outsiders": len(protocol.outsiders),
        "forget": len(protocol.forget),
    },
    name="images",
)

# %% [markdown]
# **Predict.** The encoder was trained to pull images of one person together. How will the clump of a
# person it was *trained* on differ from that of a stranger?
#
# <details><summary>Answer</summary>
#
# It is tighter: training pulled at those very images. A stranger's images end up near each other
# only as far as the encoder has learnt about faces in general.
#
# </details>
#
# ### Exercise 1: how tight is the clump? (3 points)
#
# For each image: the cosine between its embedding and the **mean of the other** images of the same
# person. *Other* is the point: an image is always close to a mean that it is part of.


# %% nbgrader={"grade": false, "grade_id": "compactness", "locked": false, "schema_version": 3, "solution": true, "task": false}
def compactness(x, people):
    """Cosine of each row to the mean of its person's other rows.

    x (N, D), rows of length one; people (N,) integers, each at least twice. Returns (N,).
    """
    ### BEGIN SOLUTION
    x, people = torch.as_tensor(x), torch.as_tensor(people)
    same = (people[:, None] == people).float()
    others = same @ x - x  # the sum points where the mean does
    return F.cosine_similarity(x, others, dim=1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_compactness", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
square = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
found = np.asarray(compactness(square, np.array([0, 0, 1, 1])))
np.testing.assert_allclose(found, [0, 0, 1, 1], atol=1e-6)
### BEGIN HIDDEN TESTS
draws_ = np.random.default_rng(0)
x_ = draws_.normal(size=(9, 4))
x_ = torch.tensor(x_ / np.linalg.norm(x_, axis=1, keepdims=True)).float()
people_ = np.array([0, 1, 0, 2, 1, 0, 2, 1, 0])
expected_ = []
for i in range(9):
    mean_ = np.mean(
        [x_[j].numpy() for j in range(9) if j != i and people_[j] == people_[i]], axis=0
    )
    expected_.append(x_[i].numpy() @ mean_ / np.linalg.norm(mean_))
np.testing.assert_allclose(np.asarray(compactness(x_, people_)), expected_, atol=1e-5)
### END HIDDEN TESTS

# %% [markdown]
# The library's attack looks at this, and at three more signals: the length of the raw embedding, and
# how little the embedding moves when the image is mirrored, shifted or blurred. The first of them:

# %%
space = Space(protocol, teacher, progress=False)
features = space.features
member, outsider = (features.loc[index] for index in (protocol.members, protocol.outsiders))

figure = figures.StudyFigure(figsize=(5, 2.6), layout="constrained")
axes = figure.subplots()
bins = np.linspace(features.compactness.min(), 1, 31)
for rows, name, colour in ((outsider, "outsiders", "#D55E00"), (member, "members", "#0072B2")):
    axes.hist(rows.compactness, bins, density=True, alpha=0.6, label=name, color=colour)
axes.set(xlabel="compactness", ylabel="density")
axes.legend(frameon=False)
figure

# %% [markdown]
# ## 2. One number for an attack
#
# No threshold parts the two cleanly. A number that needs none: draw one member and one outsider at
# random; **how often does the member have the higher score?** Half the time for a useless attack,
# always for a perfect one. That number is the **AUC**, the area under the ROC curve.
#
# ### Exercise 2: AUC (2 points)
#
# Compare every member with every outsider. A tie counts one half.


# %% nbgrader={"grade": false, "grade_id": "auc", "locked": false, "schema_version": 3, "solution": true, "task": false}
def auc(members, outsiders):
    """Share of (member, outsider) pairs in which the member scores higher; a tie is half a pair."""
    ### BEGIN SOLUTION
    members, outsiders = np.asarray(members)[:, None], np.asarray(outsiders)[None, :]
    return np.mean((members > outsiders) + 0.5 * (members == outsiders))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_auc", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
assert auc(np.array([0.9, 0.4]), np.array([0.5, 0.1])) == 0.75
### BEGIN HIDDEN TESTS
draws_ = np.random.default_rng(0)
from sklearn.metrics import roc_auc_score as theirs_

a_, b_ = draws_.integers(0, 6, 30), draws_.integers(0, 5, 20)  # many ties
assert abs(auc(a_, b_) - theirs_(np.arange(50) < 30, np.concatenate([a_, b_]))) < 1e-9
assert auc(np.ones(3), np.ones(4)) == 0.5
### END HIDDEN TESTS


# %%
def share_higher(inside, outside):  # the AUC where there are no ties
    return float((np.asarray(inside)[:, None] > np.asarray(outside)).mean())


alone = {name: share_higher(member[name], outsider[name]) for name in features}
pd.Series(alone, name="AUC of one signal alone").round(3)

# %% [markdown]
# An AUC well *below* one half is a signal too: it points the other way.
#
# ## 3. A fair trial
#
# An attack that combines signals must be *fitted* on some images and *judged* on others. Which others?
#
# **Predict.** We split the images at random in two halves. Images of one person will land in both.
# Is the judgement then fair?
#
# <details><summary>Answer</summary>
#
# No. The attack can learn what *this person* looks like, and then find her again: it recognises people
# instead of membership. It looks better than it is.
#
# </details>
#
# ### Exercise 3: split by people (2 points)
#
# Return a mask that is true for the images of a random half of the *people* (rounded down).


# %% nbgrader={"grade": false, "grade_id": "half_of_people", "locked": false, "schema_version": 3, "solution": true, "task": false}
def half_of_people(people, seed):
    """Bool mask (N,): true where the image is of somebody in a random half of the people."""
    ### BEGIN SOLUTION
    names = np.unique(people)
    drawn = np.random.default_rng(seed).permutation(names)[: len(names) // 2]
    return np.isin(people, drawn)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_half_of_people", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
people = np.array([3, 3, 5, 8, 8, 8, 9])
half = half_of_people(people, 0)
assert half.shape == people.shape
### BEGIN HIDDEN TESTS
draws_ = np.random.default_rng(0)
people_ = draws_.integers(0, 11, 80)
masks_ = [np.asarray(half_of_people(people_, seed)) for seed in range(6)]
for mask_ in masks_:
    assert mask_.dtype == bool
    assert not set(people_[mask_]) & set(people_[~mask_]), "somebody is on both sides"
    assert len(set(people_[mask_])) == len(set(people_)) // 2
assert len({mask_.tobytes() for mask_ in masks_}) > 1, "other seeds, other halves"
assert np.array_equal(half_of_people(people_, 3), half_of_people(people_, 3)), (
    "same seed, same half"
)
### END HIDDEN TESTS

# %% [markdown]
# Now the attack by all signals together, fitted on one half of the people, judged on the other.

# %%
attack = membership_attack(
    member.to_numpy(),
    outsider.to_numpy(),
    features.loc[protocol.forget].to_numpy(),
    member_people=identities[protocol.members],
    non_member_people=identities[protocol.outsiders],
)
attack

# %% [markdown]
# Read it slowly. *AUC*: how well it tells members from outsiders. *TPR at 1 % FPR*: how many members it
# catches if it may accuse one outsider in a hundred falsely. The second is what an accusation is worth:
# a large AUC with a TPR near zero means "often a little better than chance, never sure". It is measured
# on the outsiders that the attack was not fitted on. Here they are fewer than a hundred images, so one
# false accusation is already above 1 %: the number says how many members are caught with none. Notebook
# 06 asks for at least a hundred.
#
# ### Exercise 4: recall (3 points)
#
# **Membership recall** on the forget set: the share of its images that the attack calls members. Choose
# the threshold on known members and outsiders, for the best *balanced* accuracy (the mean of: members
# called members, outsiders called outsiders), and then look at the forget set, once. Called a member:
# strictly above the threshold. If several thresholds are best, take any.


# %% nbgrader={"grade": false, "grade_id": "recall", "locked": false, "schema_version": 3, "solution": true, "task": false}
def recall(members, outsiders, forget):
    """Share of forget scores above the threshold that best parts members from outsiders."""

    ### BEGIN SOLUTION
    def balanced(threshold):
        return np.mean(members > threshold) + np.mean(outsiders <= threshold)

    best = max([-np.inf, *members, *outsiders], key=balanced)
    return np.mean(forget > best)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_recall", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
known_in, known_out = np.array([0.9, 0.8, 0.7]), np.array([0.3, 0.2])
assert recall(known_in, known_out, np.array([0.95, 0.1, 0.0, 0.99])) == 0.5
### BEGIN HIDDEN TESTS
in_, out_ = np.array([0.6, 0.7, 0.8, 0.9]), np.array([0.1, 0.2, 0.3, 0.85])
assert recall(in_, out_, np.array([0.05, 0.28, 0.61, 0.95, 0.75])) == 0.6
few_, many_ = np.array([0.4, 0.8]), np.array([0.0, 0.1, 0.2, 0.2, 0.3, 0.5, 0.5, 0.5])
gone_ = np.array([0.45, 0.6, 0.2, 0.9])
assert recall(few_, many_, gone_) == 0.75, "balanced: both kinds count the same"
### END HIDDEN TESTS

# %% [markdown]
# Before anything was forgotten, recall on the forget set should be high: those images *are* members.
#
# ## 4. An attack that only seems to work
#
# A company reports: "our attack works very well!" Its members are the training images; its outsiders were
# taken with another, blurrier camera. Let us do the same, but to an encoder that **was never trained on
# anything**: it cannot remember a thing.
#
# **Predict** its AUC.


# %%
def steadiness(index, camera):
    """How little the embedding moves when the image is blurred (once more)."""
    images = case.faces.images[index]
    plain = raw_embeddings(case.start, images, view=camera)  # case.start: never trained
    blurred = raw_embeddings(case.start, images, view=lambda x: half_resolution(camera(x)))
    return F.cosine_similarity(plain, blurred).numpy()


def sharp(images):
    return images


inside = steadiness(protocol.members, sharp)
aucs = {
    "outsiders from a blurry camera": share_higher(
        steadiness(protocol.outsiders, half_resolution), inside
    ),
    "outsiders like members": share_higher(steadiness(protocol.outsiders, sharp), inside),
}
pd.Series({name: max(value, 1 - value) for name, value in aucs.items()}, name="AUC").round(3)

# %% [markdown]
# An encoder without any memory, and the attack "works" on blurry outsiders: it distinguishes two *cameras*.
# Against outsiders that look like members it is next to tossing a coin. Non-members must look like
# members in all but training.
#
# ### Exercise 5: the control (1 point)
#
# Which check would have exposed the company's claim most directly? Set `control` to "a", "b" or "c".
#
# - "a": collect more members
# - "b": run the same attack on an encoder that was trained on none of these images
# - "c": report TPR at 1 % FPR besides AUC

# %% nbgrader={"grade": false, "grade_id": "control", "locked": false, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
control = "b"
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "test_control", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
assert control in ("a", "b", "c")
### BEGIN HIDDEN TESTS
assert control == "b"
### END HIDDEN TESTS

# %% [markdown]
# ## What to take away
#
# - Encoders remember: the images of people they were trained on lie closer together. That their
#   embeddings also change less under small changes of an image is a weak sign: in the study even its
#   direction varies from seed to seed.
# - An attack is fitted on some people and judged on others, with non-members that look like members.
# - Where the attack's AUC is near one half, its recall means nothing, however low it is.
#
# ## Further reading
#
# - Shokri et al., *Membership Inference Attacks* (2017), arXiv:1610.05820: the first of its kind.
# - Carlini et al., *Membership Inference Attacks From First Principles* (2022), arXiv:2112.03570: why
#   TPR at low FPR.
# - Li et al. (2022), arXiv:2203.02077: telling whose images trained an encoder, from embeddings alone.
