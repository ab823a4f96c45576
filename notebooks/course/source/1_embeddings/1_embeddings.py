# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lesson 1: what a face encoder knows
#
# **Aims.** At the end you can
#
# - say what an *embedding* is, and compare two of them;
# - decide whether two images show one person, and say how often such decisions go wrong;
# - read an ROC curve, and say why "99 % accurate" is no answer.
#
# **Time:** 75 minutes, of which the computer takes about one (the encoder is trained once; later
# lessons find it in the cache). The faces are synthetic: code draws them.
#
# **How to work.** Where it says *Predict*, write down your guess before you open the answer or run
# the cell; being wrong there is how this course teaches. Where it says *Exercise*, replace the
# `raise NotImplementedError`. The cell below each exercise checks some of it; your teacher's copy
# checks more.

# %%
import numpy as np
import pandas as pd
import torch

from cure_core.encoders.embedding import raw_embeddings
from cure_core.metrics import verification
from cure_study import figures
from cure_study.course.lesson_case import draw_case
from cure_study.evaluation.space import Space
from cure_study.experiments import study

case = draw_case()
case.faces

# %% [markdown]
# ## 1. Images and people
#
# Each row below is one person. Pose, light, age, glasses and sharpness change from image to
# image; the person does not.

# %%
figures.draw_faces(case.faces)

# %% [markdown]
# **Predict.** An image is 112 x 112 pixels of three colours. Compare two images by how far apart
# their pixels are. Which two would come out closer: one person, once in bright and once in dim light,
# or two people under the same light?
#
# <details><summary>Answer</summary>
#
# Usually the two people under the same light. Light moves every pixel; who somebody is moves a few.
# So pixels are the wrong thing to compare, and that is why encoders exist.
#
# </details>
#
# ## 2. From an image to a point
#
# An **encoder** is a network that turns an image into a list of numbers, here 64 of them: the
# **embedding**. It was trained to do one thing: put images of one person close together and those
# of different people apart. It has seen 28 of our people; the next cell trains it (about a minute).

# %%
trained = study.train_teacher(case, progress=True)
teacher = trained.encoder
images = case.faces.images[case.split.train[:6]]
raw = raw_embeddings(teacher, images)
raw.shape, raw[0, :5]

# %% [markdown]
# A single number of an embedding means nothing in itself. What counts is the *direction* of the whole
# arrow: two embeddings are alike where they point the same way. The measure of that is the cosine of
# the angle between them,
#
# $$\cos(a, b) = \frac{a \cdot b}{|a|\,|b|},$$
#
# 1 for the same direction, 0 for a right angle, -1 for opposite ones.
#
# ### Exercise 1: cosine similarity (2 points)
#
# `a` and `b` are tensors of shape (B, D): B pairs of embeddings, not normalised. Return the B
# cosines, shape (B,).


# %% nbgrader={"grade": false, "grade_id": "cosine", "locked": false, "schema_version": 3, "solution": true, "task": false}
def cosine(a, b):
    """Cosine between the rows of a and b, both (B, D); returns (B,)."""
    ### BEGIN SOLUTION
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_cosine", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
right_angle = cosine(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]]))
assert right_angle.shape == (1,), "one number a pair"
assert abs(right_angle.item()) < 1e-6
### BEGIN HIDDEN TESTS
a_, b_ = (
    torch.tensor([[3.0, 4.0], [1.0, 0.0], [1.0, 1.0]]),
    torch.tensor([[6.0, 8.0], [-5.0, 0.0], [1.0, 0.0]]),
)
np.testing.assert_allclose(cosine(a_, b_), [1, -1, 0.5**0.5], atol=1e-6)
np.testing.assert_allclose(cosine(10 * a_, b_), cosine(a_, b_), atol=1e-6)
### END HIDDEN TESTS

# %% [markdown]
# From here on embeddings are **normalised**: each is divided by its length, so that the cosine is a
# plain product.
#
# ## 3. Same person, or not?
#
# A pair of images of one person is **genuine**, a pair of two people an **impostor** pair. We score
# pairs of people whom the encoder has *never seen*: what counts is whether it has learnt faces, not
# whether it has learnt these.
#
# **Predict.** Sketch the two histograms of scores, genuine and impostor. Do they overlap?

# %%
space = Space(case.protocol, teacher, progress=False)
unseen = case.protocol.pairs["test"]
scores = space.scores(unseen)
genuine, impostor = scores[unseen.genuine], scores[~unseen.genuine]

figure = figures.StudyFigure(figsize=(5, 2.6), layout="constrained")
axes = figure.subplots()
bins = np.linspace(-0.6, 1, 41)
axes.hist(impostor, bins, alpha=0.6, label=f"impostor ({len(impostor)} pairs)", color="#D55E00")
axes.hist(genuine, bins, alpha=0.6, label=f"genuine ({len(genuine)} pairs)", color="#0072B2")
axes.set(xlabel="cosine similarity", ylabel="pairs")
axes.legend(frameon=False)
figure

# %% [markdown]
# They overlap: no threshold parts them cleanly. Somebody has to choose one, and any choice makes two
# kinds of error.
#
# - **TAR**, true accept rate: the share of genuine pairs that are accepted.
# - **FAR**, false accept rate: the share of impostor pairs that are accepted.
#
# A pair is accepted where its score is *strictly above* the threshold.
#
# ### Exercise 2: the two rates (2 points)


# %% nbgrader={"grade": false, "grade_id": "rates", "locked": false, "schema_version": 3, "solution": true, "task": false}
def rates(genuine, impostor, threshold):
    """(TAR, FAR) at a threshold; genuine and impostor are arrays of scores."""
    ### BEGIN SOLUTION
    return np.mean(genuine > threshold), np.mean(impostor > threshold)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_rates", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
tar, far = rates(np.array([0.9, 0.8, 0.3, 0.2]), np.array([0.7, 0.1]), 0.5)
assert (tar, far) == (0.5, 0.5)
### BEGIN HIDDEN TESTS
assert rates(np.array([0.9, 0.5]), np.array([0.5, 0.1, 0.0, -1.0]), 0.5) == (0.5, 0.0), (
    "strictly above"
)
assert rates(np.array([0.9, 0.5]), np.array([0.5, 0.1, 0.0, -1.0]), -2.0) == (1.0, 1.0)
### END HIDDEN TESTS

# %% [markdown]
# **Predict.** You raise the threshold. Which way does TAR go, and which way FAR?
#
# <details><summary>Answer</summary>
#
# Both fall (or stay). That is the whole difficulty: fewer strangers get in, and more of the right
# people are locked out. Nothing but a better encoder improves both at once.
#
# </details>
#
# Trying every threshold and drawing TAR over FAR gives the **ROC curve**. Note the axis: FAR is drawn
# by powers of ten, since a door that lets in one stranger in ten is of no use to anybody.

# %%
curve = verification.roc(genuine, impostor)
figure = figures.StudyFigure(figsize=(4, 2.8), layout="constrained")
axes = figure.subplots()
axes.plot(curve.far.clip(lower=1e-3), curve.tar, color="#0072B2", label="the encoder")
axes.plot(np.geomspace(1e-3, 1), np.geomspace(1e-3, 1), "--", color="0.5", label="tossing a coin")
axes.set(xscale="log", xlabel="FAR", ylabel="TAR", ylim=(0, 1.02))
axes.legend(frameon=False)
figure

# %% [markdown]
# ### Exercise 3: TAR at a FAR (3 points)
#
# A bank says: at most one impostor in a thousand. So the FAR is given, and TAR is the answer. Return
# the TAR at the **lowest** threshold at which **at most** a share `far` of the impostors is accepted.
#
# Hint: thresholds worth trying are the impostors' own scores. Sort them; how many may be above?


# %% nbgrader={"grade": false, "grade_id": "tar_at", "locked": false, "schema_version": 3, "solution": true, "task": false}
def tar_at(genuine, impostor, far):
    """TAR at the lowest threshold that accepts at most a share `far` of the impostors."""
    ### BEGIN SOLUTION
    for threshold in np.sort(impostor):
        if np.mean(impostor > threshold) <= far:
            return float(np.mean(genuine > threshold))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "test_tar_at", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
ten = np.arange(10) / 10  # impostors 0.0 to 0.9
assert tar_at(np.array([0.95, 0.85, 0.1]), ten, 0.1) == 2 / 3
### BEGIN HIDDEN TESTS
draws_ = np.random.default_rng(0)
for far_ in (0, 0.01, 0.05, 0.3):
    g_, i_ = draws_.normal(1, 1, 80), draws_.normal(0, 1, 200)
    assert abs(tar_at(g_, i_, far_) - verification.tar_at_far(g_, i_, far_)) < 1e-9, far_
assert tar_at(np.array([0.9, 1.5]), np.array([0.0, 1.0]), 0.25) == 0.5, "one of two is too many"
assert tar_at(np.full(5, 0.3), np.full(9, 0.3), 0.2) == 0, "tied scores: nobody can be let in"
### END HIDDEN TESTS

# %% [markdown]
# One number can hide a lot. Here are three for the same encoder on the same pairs:

# %%
numbers = {
    "accuracy at the best threshold": verification.ten_fold_accuracy(scores, unseen.genuine),
    "TAR at FAR = 10 %": verification.tar_at_far(genuine, impostor, 0.1),
    "TAR at FAR = 1 %": verification.tar_at_far(genuine, impostor, 0.01),
}
pd.Series(numbers).round(3)

# %% [markdown]
# ### Exercise 4: what a small FAR costs (1 point)
#
# A camera compares each passer-by with a list of 5,000 wanted people, at FAR = 1e-3. The passer-by is
# on no list. How many of the 5,000 will the system, on average, say he is?

# %% nbgrader={"grade": false, "grade_id": "false_matches", "locked": false, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
false_matches = 5000 * 1e-3
### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "test_false_matches", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
assert false_matches > 0
### BEGIN HIDDEN TESTS
assert abs(false_matches - 5) < 1e-9
### END HIDDEN TESTS

# %% [markdown]
# ## 4. Does it know the people it was trained on better?
#
# **Predict.** The curve above is for people it never saw. Draw in your mind the one for images it was
# *trained* on. Same, higher, lower?

# %%
known = case.protocol.pairs["forget"]  # both images are training images
known_scores = space.scores(known)
numbers = {
    "images it was trained on": verification.ten_fold_accuracy(known_scores, known.genuine),
    "people it never saw": verification.ten_fold_accuracy(scores, unseen.genuine),
}
pd.Series(numbers, name="accuracy").round(3)

# %% [markdown]
# Higher. So the encoder has learnt two things: what faces are like, which helps with strangers, and
# something about *these* images, which does not. The second is what lesson 2 is about, and what the
# rest of the course wants to take out again.
#
# ## What to take away
#
# - An embedding is a point on a sphere; near means alike *to this encoder*.
# - Verification always trades false accepts for false rejects; say at which FAR you speak.
# - An encoder recognises people it never saw. Keep this in mind when somebody says "forgotten".
#
# ## Further reading
#
# - Deng et al., *ArcFace* (2019), arXiv:1801.07698: how such encoders are trained.
# - Huang et al., *Labeled Faces in the Wild* (2007): the test that made verification comparable.
# - Buolamwini and Gebru, *Gender Shades* (2018): one accuracy for everybody hides whom it fails.
