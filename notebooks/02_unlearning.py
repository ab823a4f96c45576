# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Forgetting chosen faces without labels
#
# A face encoder turns a face into a vector, its *embedding*; two images of one person land close
# together. Someone asks that their images be removed. Training anew without them costs as much as
# the first training did. **CURE** (arXiv:2509.19562) changes the trained encoder instead, and needs
# no list of who is who: only the images that must go and those that may stay. What runs here is
# `cure_plus`, CURE with one term of ours in place of one of the paper's; `method = "cure"` runs the
# paper's.
#
# This notebook
#
# 1. draws a request: some people must be forgotten;
# 2. trains a *teacher* that knows everyone;
# 3. makes a *student* of it that forgets;
# 4. trains an *oracle*, the honest comparison: the same training without the forgotten images;
# 5. judges all three by the same pairs and attacks, over several seeds.
#
# It ends by asserting what it claims. Every cell runs as it stands; to ask another question, change
# the parameters below or run a profile: `make study PROFILE=quick`.

# %% tags=["parameters"]
dataset = "synthfaces"  # a manifest: synthfaces (synthetic faces), lfw, folder
dataset_options = {}  # options of the manifest's data set
encoder = "small"  # small, mobilefacenet
weights = None  # weights to start from, a path below the data root; None: random ones
split = {}  # min_images, max_images, outsiders, heldout: changes to the manifest's
forget_people = 15  # how many people are to be forgotten
teacher = {"epochs": 16, "margin": 0.2}  # the training recipe: also batch_size, learning_rate, ...
method = "cure_plus"  # or cure, the paper's; every name in cure_core.objectives.METHODS
unlearning = {"epochs": 20}  # CureConfig: also clusters, tau, temperature, learning_rate, ...
device = None  # "cuda" for a GPU; None is the CPU
processes = 1  # of the training, each on one GPU
n_pairs = 1500  # genuine pairs of each set, and as many impostor pairs
n_bootstrap = 300  # resamples of people for each interval of one seed
seeds = [0, 1, 2]  # each with other people, another teacher and another student
least_ues = 0.65  # asserted at the end, as the mean over the seeds, where `bounds_for` holds
least_stability = 0.88
bounds_for = {"dataset": "synthfaces", "dataset_options": {}, "method": "cure_plus"}
out = None  # where results and figures go; None: runs/02_unlearning of the project
progress = True

# %%
from pathlib import Path

import pandas as pd

from cure_study import figures
from cure_study.data import manifests
from cure_study.erasure import export
from cure_study.evaluation.evaluate import evaluate
from cure_study.evaluation.report import save_table, summarise
from cure_study.experiments import study
from cure_study.runner.parameters import bounds_apply
from cure_study.runner.runs import RUNS

faces = manifests.load(dataset, **dataset_options)
setting = study.setting_of(globals())
study.pretrain(faces, setting, seeds)  # with several processes, they train into the cache
faces

# %% [markdown]
# ## The faces
#
# SynthFaces are drawn by code: nobody's, so they can be shown. A row is a person; every image
# varies pose, light, expression, age, glasses and quality. (Real faces are not shown here.)

# %%
sheet = figures.draw_faces(faces) if faces.name == "synthfaces" else None
sheet

# %% [markdown]
# ## Who must go
#
# A *case* is one seed's draw. The **forget** set holds every training image of the people who
# asked; the **retain** set those of all others. Of each person some images are held out, to test
# on. **Outsiders** look just like members (as many images each) but are in no training: an attack
# that claims to tell members from non-members needs honest non-members.
#
# The request holds images only. Nothing on the unlearning side can reach an identity.

# %%
case = study.prepare(faces, setting, seeds[0])
print(case)
print(case.protocol)

# %% [markdown]
# ## The teacher
#
# ArcFace training on everyone. It uses labels, as any training of a recogniser does; what comes
# after the request does not. (A teacher trained before comes from the cache.)

# %%
trained = study.train_teacher(case, progress=progress)

# %% [markdown]
# ## Forgetting
#
# The student begins as a copy of the teacher. For every image, K-means stands in for the missing
# label: its cluster is the pseudo-label.
#
# | term | on | what it does | in |
# |---|---|---|---|
# | cosine | forget | lowers the similarity to the teacher's embedding | both |
# | contrastive forget | forget | pulls each cluster towards the **farthest** other one | `cure` |
# | dispersion | forget | drives the images of a cluster away from one another | `cure_plus` |
# | contrastive retain | retain | keeps each image at its own cluster | both |
# | matching | retain | keeps each embedding where the teacher had it | both |
# | distribution | retain | keeps mean and covariance of the batch (watched, weight 0) | both |
#
# At the first step student and teacher agree, which is the *maximum* of the cosine term: its
# gradient is zero there. Another term has to make the first move. The paper's sends a whole cluster
# to one target, and what moves together stays together: two images of a forgotten person still
# match. Dispersion parts them, which is what "no longer recognisable" asks for.
#
# Batch norm hides a trap. Its running statistics trail the weights by some ten steps, in which a
# student that forgets moves far, so part of what it learnt shows in train mode only. At the end
# they are taken anew, from images that stay.
#
# How many clusters? We don't know how many people asked, and the method may not ask. It takes the
# number at which the clusters are best separated (their silhouette peaks). Read the numbers it
# found beside the true ones.

# %%
result = study.forget(case, trained, progress=progress)
clusters = pd.Series(result.summary, name="chosen").to_frame()
clusters["people there are"] = [
    len(set(faces.identities[index]))
    for index in (case.request.forget_index, case.request.retain_index)
]
clusters

# %% [markdown]
# ## The oracle, and the judgement
#
# The oracle is what an unlimited budget gives: the same start and recipe, without the forgotten
# images. It still recognises people it never saw, because that is what a good encoder does. So
# there are two notions of forgetting, and the report shows both, apart:
#
# - **erasure**: forgotten people are no longer recognisable. UES measures it: F is the share of
#   their recognisability above chance that is gone, S how little all else moved, UES = F x S;
# - **indistinguishability**: the student behaves as the oracle does. Membership recall and ToW
#   measure it. A student far *below* the oracle has over-forgotten, and that can be detected.
#
# Every model is judged at its own best threshold, in ten folds: whoever deploys or attacks the
# student may recalibrate. In brackets: 95 % intervals that resample people, not pairs.

# %%
oracle = study.train_oracle(case, progress=progress)
report = evaluate(
    case.protocol,
    before=trained.encoder,
    after=result.student,
    oracle=oracle.encoder,
    n_bootstrap=n_bootstrap,
    progress=progress,
)
report

# %% [markdown]
# Some lines deserve a second look.
#
# - *Membership recall* is the share of forget images that an attack, fitted anew on each model,
#   still calls members. Where the attack's AUC is under 0.55, the recall means nothing.
# - *Rank-1, old gallery*: templates enrolled **before** unlearning are searched with new images
#   of the forgotten. *Re-enrolled*: the templates are made by the student too. A claim of "no
#   longer identified" must say which of the two it is about.
# - *Accuracy at the teacher's threshold* is what a deployed system sees at once. It can be gamed
#   (push all forget embeddings one way and it falls to 1/2), so nothing is scored by it.
#
# ## More seeds
#
# One draw of people is an anecdote. Every other seed repeats all of the above with other people,
# another teacher and another oracle.

# %%
outcomes = [study.Outcome(case, trained, result, oracle, report)]
outcomes += [
    study.run(faces, setting, seed, n_bootstrap=n_bootstrap, progress=progress)
    for seed in seeds[1:]
]
tidy = pd.concat([outcome.tidy() for outcome in outcomes], ignore_index=True)
history = pd.concat([outcome.history() for outcome in outcomes], ignore_index=True)
table = summarise(tidy)
table

# %% [markdown]
# ## Figures
#
# Scores first: where the two curves of a panel overlap, no threshold tells the people apart.

# %%
scores = pd.concat([outcome.report.scores for outcome in outcomes], ignore_index=True)
drawn = {
    "score_distributions": figures.score_histogram(scores),
    "measures": figures.measure_table(tidy),
    "roc": figures.roc_table(scores),
    "loss_terms": history,
}
figures.draw("score_distributions", drawn["score_distributions"])

# %% [markdown]
# Before, after and oracle by each measure (large: the mean over seeds; small: each seed).

# %%
figures.draw("measures", drawn["measures"])

# %% [markdown]
# The same by ROC: how many genuine pairs are accepted at each rate of false accepts.

# %%
figures.draw("roc", drawn["roc"])

# %% [markdown]
# The loss terms over the epochs, each without its weight.

# %%
figures.draw("loss_terms", drawn["loss_terms"])

# %% [markdown]
# Everything is saved, each seed's student and its model card too:
# `encoders.build(encoder, path)` loads it, and `export.export(outcome, folder)` adds ONNX.

# %%
folder = Path(out or RUNS / "02_unlearning")
export.export_students(outcomes, folder / "students")
save_table(tidy, folder / "results.csv")
save_table(table.rename_axis("measure").reset_index(), folder / "table.csv")
for name, data in drawn.items():
    figures.save_figure(figures.draw(name, data), data, name, folder / "figures")
if sheet is not None:
    figures.save_figure(sheet, None, "faces", folder / "figures")
sorted(path.name for path in folder.rglob("*.csv"))

# %% [markdown]
# ## What this showed
#
# The assertions hold the study to its claims: forgetting happened, it was not bought by breaking
# the rest, and the method never saw a label. The two bounds are claims about one data set and
# method; on others the table above is the result, and no bound is asserted.

# %%
after = tidy[tidy.model == "after"].pivot_table(index="seed", columns="metric", values="value")
assert tidy.value.notna().all()
if bounds_apply(bounds_for, globals()):
    assert after.ues.mean() >= least_ues, after.ues
    assert after.stability.mean() >= least_stability, after.stability
else:
    print(f"no bound is asserted: they are for {bounds_for}")
assert set(case.request.forget_index).isdisjoint(case.request.retain_index)
