# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What unlearning does to the embedding space
#
# Maps of the embeddings before and after unlearning, and of the oracle, on shared axes. A map is
# an illustration, **not a proof**: it reduces tens of dimensions to two. A t-SNE map shows which
# images are *neighbours*. It does not show
#
# - how far apart two groups are (gaps between islands mean little);
# - how spread out a group is (islands are scaled to similar density);
# - whether something that looks like an island is a cluster (noise makes islands too);
# - how much anything moved: the length of a path on the map is not the size of the change.
#
# So every map comes with a check by another method and with numbers for how far it can be
# trusted, and every claim is tested in the embedding space, not on the map.

# %% tags=["parameters"]
dataset = "synthfaces"  # a manifest: synthfaces (synthetic faces), lfw, folder
dataset_options = {}  # options of the manifest's data set
encoder = "small"  # small, mobilefacenet
weights = None  # weights to start from, a path below the data root; None: random ones
split = {}  # min_images, max_images, outsiders, heldout: changes to the manifest's
forget_people = 15  # how many people are to be forgotten
teacher = {"epochs": 16, "margin": 0.2}  # the training recipe: also batch_size, learning_rate, ...
method = "cure_plus"  # or cure, the paper's; every name in cure_core.objectives.METHODS
unlearning = {"epochs": 20, "amp": "auto"}  # CureConfig: also clusters, tau, learning_rate, ...
seeds = [0, 1, 2]  # the first is shown
shown = {"forget": 400, "retain": 500, "unseen": 300}  # at most so many images of each set
perplexity = 30  # how many neighbours t-SNE looks at, roughly
arrows = 24  # how many of the largest moves are drawn
explorer = None  # None: shown in an open Jupyter notebook; True or False decide it
out = None  # where results and figures go; None: runs/04_embedding_tsne of the project
progress = True
device = None  # "cuda" for a GPU; None is the CPU
least_ues = 0.65  # above 0 the profile claims that something was forgotten, and that is asserted
bounds_for = {"dataset": "synthfaces", "dataset_options": {}, "method": "cure_plus"}
n_pairs = 1500  # this and what follows are used by 02_unlearning only
processes = 1
n_bootstrap = 300
least_stability = 0.88

# %%
from pathlib import Path

import numpy as np
import pandas as pd

from cure_core.cluster_count import choose_clusters
from cure_core.clustering import kmeans
from cure_core.encoders.embedding import embed
from cure_study import figures
from cure_study.data import manifests
from cure_study.data.faceset import ImageView
from cure_study.evaluation.procrustes import rotation
from cure_study.evaluation.report import save_table
from cure_study.experiments import study
from cure_study.experiments.maps import projections
from cure_study.experiments.maps import tables as map_tables
from cure_study.runner.parameters import bounds_apply
from cure_study.runner.runs import RUNS
from cure_study.widgets.explorer import can_explore, explore

faces = manifests.load(dataset, **dataset_options)
setting = study.setting_of(globals())
seed = seeds[0]
case = study.prepare(faces, setting, seed)
case

# %% [markdown]
# ## Three models
#
# The teacher (before), the student (after), and the oracle, trained from the same start without
# the forgotten images.

# %%
trained = study.train_teacher(case, progress=progress)
result = study.forget(case, trained, progress=progress)
oracle = study.train_oracle(case, progress=progress)
models = {"before": trained.encoder, "after": result.student, "oracle": oracle.encoder}
result

# %% [markdown]
# ## Three sets
#
# Forgotten and retained people (their training images), and unseen people: outsiders, who are in
# no training set. Large sets are thinned evenly. All three models embed every image.

# %%
points = map_tables.choose_points(
    {
        "forget": case.request.forget_index,
        "retain": case.request.retain_index,
        "unseen": case.split.outsiders,
    },
    shown,
)
images = ImageView(faces.images, points.image.to_numpy())
spaces = {name: embed(model, images).numpy() for name, model in models.items()}
points.groupby("set").size()

# %% [markdown]
# ## One space for all
#
# The student started as the teacher, so their spaces can be compared directly. The oracle's
# cannot: two trainings end in rotated spaces, and a map cannot distinguish a rotation from a
# change. So the oracle is first rotated into the teacher's space with orthogonal Procrustes,
# fitted on **retained images only**; fitted on the forgotten too, it would hide the effect. The
# residual |A R - B| / |B| says what the rotation leaves, on the images it was fitted to and on
# held-out images of the same people, next to the student's (not rotated).

# %%
retained = ImageView(faces.images, case.request.retain_index)
held_out = case.split.heldout
held_out = held_out[
    np.isin(faces.identities[held_out], faces.identities[case.request.retain_index])
]
views = {"retained (fitted)": retained, "retained, held out": ImageView(faces.images, held_out)}
embeddings = {
    view: {name: embed(model, images).numpy() for name, model in models.items()}
    for view, images in views.items()
}
fitted = embeddings["retained (fitted)"]
matrix = rotation(fitted["oracle"], fitted["before"])
residuals = pd.DataFrame(
    {
        view: {
            "student": projections.residual(x["after"], x["before"]),
            "oracle, not rotated": projections.residual(x["oracle"], x["before"]),
            "oracle, rotated": projections.residual(x["oracle"] @ matrix, x["before"]),
        }
        for view, x in embeddings.items()
    }
)
spaces["oracle"] = spaces["oracle"] @ matrix
residuals.round(3)

# %% [markdown]
# ## View (a): one joint map
#
# t-SNE fitted to the embeddings of all three models together, so that every point can go
# anywhere. The coordinates are saved, and the figure is drawn from the saved coordinates.

# %%
folder = Path(out or RUNS / "04_embedding_tsne")
joint = projections.joint_tsne(spaces, seed, perplexity).merge(points, on="point")
joint = pd.read_csv(save_table(joint, folder / "coordinates.csv"))
figures.draw("map_joint", joint)

# %% [markdown]
# ## View (b): placed into the teacher's map
#
# The teacher's own map, fitted without the others; student and oracle are then *placed* into it.
#
# **Warning.** A point can only be placed among existing points. An image that moved to where the
# teacher has nothing is drawn next to whatever is least far: movement into empty space cannot
# show in this view. Compare it with (a), where it can.

# %%
placed = projections.placed_tsne(spaces, seed, perplexity).merge(points, on="point")
figures.draw("map_placed", placed)

# %% [markdown]
# ## The largest movements
#
# Which images moved most is decided in the **embedding space** (cosine distance between before
# and after), not on the map; the map only shows where they went. First the change by set, then
# the paths of the largest changes on the joint map.

# %%
points["change"] = 1 - (spaces["before"] * spaces["after"]).sum(1)
points.groupby("set").change.describe().round(3)

# %%
moves = map_tables.move_table(joint, points.change, arrows)
figures.draw("map_moves", moves)

# %% [markdown]
# ## Pseudo-clusters and their centroids
#
# The forget images by pseudo-label: K-means on the teacher's embeddings, and then on the
# student's, initialised with the teacher's centroids, so that a number keeps its meaning. A
# number stands at the image nearest to the centroid, because a centroid has no position on a map.

# %%
x = embed(trained.encoder, case.request.forget)
count = int(result.summary.get("clusters_forget") or choose_clusters(x, seed=seed).k)
before = kmeans(x, count, seed=seed)
after = kmeans(embed(result.student, case.request.forget), count, init=before.centroids)
clusters = map_tables.cluster_table(joint, spaces, points, {"before": before, "after": after})
figures.draw("map_clusters", clusters)

# %% [markdown]
# ## How far can a map be trusted?
#
# *Trustworthiness* is 1 if the neighbours on the map are neighbours in the space, and about 1/2
# for a random map. *Preserved* is the share of the 15 nearest neighbours in the space that are
# also among the 15 nearest on the map; *chance* is what a random map would keep.

# %%
quality = pd.concat(
    {
        "t-SNE, joint": projections.map_quality(spaces, joint),
        "t-SNE, placed": projections.map_quality(spaces, placed),
    },
    names=["map", "model"],
)
quality.round(3)

# %% [markdown]
# ## Explorer
#
# In JupyterLab: two linked maps. Hover to see an image and its numbers, here and in the other
# map. Use the lasso (the buttons at the left of a map) to select images here and see them there.
# Colour by set, cluster, change or quality. Without a browser (papermill, nbconvert) the static
# image above takes its place.

# %%
table = map_tables.explorer_table(joint, clusters, points, faces.attributes)
interactive = can_explore() if explorer is None else explorer
thumbnails = images if faces.name == "synthfaces" else None
explore(table, thumbnails) if interactive else figures.draw("map_joint", joint)

# %%
drawn = {
    "map_joint": joint,
    "map_placed": placed,
    "map_moves": moves,
    "map_clusters": clusters,
}
for name, data in drawn.items():
    figures.save_figure(figures.draw(name, data), data, name, folder / "figures")
save_table(quality.reset_index(), folder / "table.csv")
save_table(residuals.rename_axis("model").reset_index(), folder / "residuals.csv")
sorted(path.name for path in folder.rglob("*.csv"))

# %% [markdown]
# ## What this showed
#
# The assertions test the change in the embedding space: where the profile claims forgetting, the
# forgotten images moved at least twice as far as the retained ones; the rotation brought the
# oracle closer to the teacher, on held-out images too; and every map preserves more neighbours
# than chance.

# %%
mean = points.groupby("set").change.mean()
if least_ues > 0 and bounds_apply(bounds_for, globals()):
    assert mean["forget"] >= 2 * mean["retain"], mean
assert (residuals.loc["oracle, rotated"] < residuals.loc["oracle, not rotated"]).all()
assert (quality.preserved > quality.chance).all()
