# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What the pseudo-labels capture
#
# CURE has no identities. It uses *pseudo-labels* instead: K-means clusters of the teacher's
# embeddings, and for each forget cluster a target, the cluster farthest from it. Everything that
# CURE knows about people comes from this clustering. This notebook asks
#
# 1. how many clusters there should be, by common criteria, none of which uses a label;
# 2. how well the clusters match people (labels are used here, for evaluation only);
# 3. where each cluster is sent, and whether many clusters share a target;
# 4. how the clusters move while the student unlearns;
# 5. how much the score depends on K, tau, the temperature and the target map.
#
# It shows one seed. The evaluation of the method is in `02_unlearning`.

# %% tags=["parameters"]
dataset = "synthfaces"  # a manifest: synthfaces (synthetic faces), lfw, folder
dataset_options = {}  # options of the manifest's data set
encoder = "small"  # small, mobilefacenet
weights = None  # weights to start from, a path below the data root; None: random ones
split = {}  # min_images, max_images, outsiders, heldout: changes to the manifest's
forget_people = 15  # how many people are to be forgotten
teacher = {"epochs": 16, "margin": 0.2}  # the training recipe: also batch_size, learning_rate, ...
unlearning = {"epochs": 20, "amp": "auto"}  # CureConfig: also clusters, tau, learning_rate, ...
seeds = [0, 1, 2]  # the first one is shown
repeats = 5  # starts, and resamples, behind each stability
out = None  # where results and figures go; None: runs/01_clustering_analysis of the project
progress = True
device = None  # "cuda" for a GPU; None is the CPU
method = "cure_plus"  # this and what follows are used by 02_unlearning only
n_pairs = 1500
processes = 1
n_bootstrap = 300
least_ues = 0.65
least_stability = 0.88
bounds_for = {"dataset": "synthfaces", "dataset_options": {}, "method": "cure_plus"}

# %%
from pathlib import Path

import pandas as pd

from cure_core.cluster_count import choose_clusters, resolve_clusters
from cure_core.clustering import kmeans
from cure_core.encoders.embedding import embed
from cure_core.unlearning import unlearn
from cure_study import figures
from cure_study.data import manifests
from cure_study.evaluation.report import save_table
from cure_study.experiments import study
from cure_study.experiments.clusters import agreement as cluster_measures
from cure_study.experiments.clusters import farthest_map
from cure_study.experiments.clusters.drift import DRIFT, watch_drift
from cure_study.experiments.clusters.sweep import effects
from cure_study.runner.runs import ROOT, RUNS

faces = manifests.load(dataset, **dataset_options)
setting = study.setting_of(globals())
seed = seeds[0]
case = study.prepare(faces, setting, seed)
case

# %% [markdown]
# ## What is clustered
#
# The teacher embeds the forget and the retain images. The next section uses nothing else.

# %%
trained = study.train_teacher(case, progress=progress)
request = case.request
spaces = {
    "forget": embed(trained.encoder, request.forget),
    "retain": embed(trained.encoder, request.retain),
}
pd.DataFrame({side: x.shape for side, x in spaces.items()}, index=["images", "dimensions"])

# %% [markdown]
# ## How many clusters?
#
# Every criterion below uses the embeddings only.
#
# - **Inertia** always falls with K; its *elbow* is where more clusters stop helping.
# - **Silhouette**: how much nearer a sample is to its own cluster than to the next one, from -1
#   to 1. The classical one compares all pairs. The one *by centroids* costs O(NK), so it also
#   works for half a million images; `CureConfig(clusters="auto")` uses it.
# - **Calinski-Harabasz**: variance between clusters over variance within. **Davies-Bouldin**: how
#   similar the most similar pairs of clusters are, on average; low is good.
# - **Stability**: whether other initialisations, or a bootstrap resample of the images, give the
#   same clusters (adjusted Rand index; 1 is the same). A coarse clustering can be stable and
#   still wrong.
#
# The line is the number chosen. The dotted line is the number of people; it is drawn for
# evaluation, and no criterion used it.

# %%
auto = {side: choose_clusters(x, seed=seed) for side, x in spaces.items()}
people = {
    side: faces.identities[index]
    for side, index in (("forget", request.forget_index), ("retain", request.retain_index))
}
grids = {
    side: sorted({*cluster_measures.k_grid(len(x)), auto[side].k}) for side, x in spaces.items()
}
known = {
    side: {"side": side, "chosen": auto[side].k, "people": len(set(people[side]))}
    for side in spaces
}
criteria = pd.concat(
    [
        cluster_measures.criteria(x, grids[side], seed=seed, repeats=repeats).assign(**known[side])
        for side, x in spaces.items()
    ],
    ignore_index=True,
)
figures.draw("cluster_criteria", criteria)

# %% [markdown]
# ## The automatic choice
#
# `clusters="auto"` tries a coarse grid of K and refines it where the silhouette by centroids
# peaks. For comparison: the choice of each criterion on the grid above, and the number of people.

# %%
suggested = pd.DataFrame(
    {
        side: cluster_measures.suggestions(criteria[criteria.side == side])
        for side in criteria.side.unique()
    }
)
suggested.loc['clusters="auto"'] = {side: choice.k for side, choice in auto.items()}
suggested.loc["people there are"] = {side: values["people"] for side, values in known.items()}
suggested

# %% [markdown]
# ## How well clusters match people
#
# **Labels are used here, for evaluation.** *Purity* is the share of images that belong to the
# main person of their cluster; it rises with K by construction. *Homogeneity*: a cluster holds
# one person. *Completeness*: a person lies in one cluster. *NMI* is their harmonic mean, and
# *ARI* counts pairs. Too few clusters merge people and too many split them; only NMI and ARI
# penalise both.

# %%
agreement = pd.concat(
    [
        cluster_measures.agreement(x, people[side], grids[side], seed=seed).assign(**known[side])
        for side, x in spaces.items()
    ],
    ignore_index=True,
)
figures.draw("cluster_agreement", agreement)

# %% [markdown]
# At the number chosen:

# %%
clusterings = {side: kmeans(x, auto[side].k, seed=seed) for side, x in spaces.items()}
pd.DataFrame(
    {
        side: cluster_measures.label_agreement(clustering.labels, people[side])
        for side, clustering in clusterings.items()
    }
).round(3)

# %% [markdown]
# The clusters by size. Grey images belong to someone other than the cluster's main person; they
# are moved together with that person's images.

# %%
sizes = pd.concat(
    [
        cluster_measures.cluster_sizes(clustering.labels, people[side]).assign(side=side)
        for side, clustering in clusterings.items()
    ],
    ignore_index=True,
)
figures.draw("cluster_sizes", sizes)

# %% [markdown]
# ## What is near the centroid, and what is at the edge
#
# The images of a forget cluster nearest to its centroid and farthest from it, with their
# distances. Low-quality images, and images of a second person, are at the edge. (Synthetic faces
# only; real faces are not shown.)

# %%
forget = clusterings["forget"]
extremes = farthest_map.near_and_far(spaces["forget"], forget.centroids, forget.labels)
extremes["image"] = request.forget_index[extremes["sample"]]
drawn_faces = faces.name == "synthfaces"
sheet = figures.draw_cluster_faces(extremes, faces) if drawn_faces else None
sheet

# %% [markdown]
# ## The farthest map
#
# Cluster k is sent to the cluster farthest from it. One remote cluster may be the farthest from
# many: a *hub*, and people who are sent to one place become similar. The alternative uses each
# target once, with the assignment of the largest total distance
# (`scipy.optimize.linear_sum_assignment`). It has no hubs, and somewhat shorter distances.

# %%
maps = farthest_map.target_maps(forget.centroids, seed)
pairs = farthest_map.map_table(forget.centroids, maps)
figures.draw("farthest_map", pairs)

# %%
hubs = pd.DataFrame(
    {
        name: farthest_map.hubness(forget.centroids, targets, forget.labels)
        for name, targets in maps.items()
    }
).round(3)
hubs

# %% [markdown]
# ## Drift
#
# During unlearning CURE recomputes the forget centroids from the student. (CURE+, which
# `02_unlearning` runs, does not.) How far do the centroids move, and how often does an image
# change its cluster, or its target? Over 90 % of the images change their target in every epoch,
# while few change their cluster: the farthest centroid changes as the clusters move.

# %%
clusters = resolve_clusters(case.config.clusters, spaces["forget"], spaces["retain"], seed)
result = unlearn(
    trained.encoder,
    request.forget,
    request.retain,
    case.config,
    objective="cure",
    on_epoch=watch_drift(trained.encoder, request.forget, clusters[0], seed),
    progress=progress,
)
drift = result.history[["epoch", *DRIFT]]
figures.draw("cluster_drift", drift)

# %% [markdown]
# ## Sensitivity
#
# From a sweep that was run once and saved (`cure sweep`, about 25 minutes of one core): one
# factor at a time leaves its default, with three seeds (four for the target map), on synthetic
# faces that no other result uses. Dotted lines are the defaults. CURE+ recomputes no centroids
# and has no target map, so tau and the map affect CURE only.

# %%
saved = ROOT / "figures" / "sensitivity.csv"
sensitivity = pd.read_csv(saved)
figures.draw("sensitivity", sensitivity)

# %% [markdown]
# The effect of each change on UES, paired by seed with the defaults, with 95 % t-intervals over
# the seeds. The line of the target map is the effect of sending each cluster to a different
# target.

# %%
effects(sensitivity).round(3)

# %%
folder = Path(out or RUNS / "01_clustering_analysis")
drawn = {
    "cluster_criteria": criteria,
    "cluster_agreement": agreement,
    "cluster_sizes": sizes,
    "farthest_map": pairs,
    "cluster_drift": drift,
}
for name, data in drawn.items():
    figures.save_figure(figures.draw(name, data), data, name, folder / "figures")
if drawn_faces:
    figures.save_figure(sheet, extremes, "cluster_faces", folder / "figures")
save_table(suggested.rename_axis("criterion").reset_index(), folder / "table.csv")
save_table(hubs.rename_axis("measure").reset_index(), folder / "hubness.csv")
sorted(path.name for path in folder.rglob("*.csv"))

# %% [markdown]
# ## What this showed
#
# The assertions check that the number suggested here is the number that the method uses, that the
# one-to-one map uses every target once and sends no cluster to itself, and that no map sends a
# cluster farther than the farthest map does.

# %%
if case.config.clusters == "auto":
    assert result.summary["clusters_forget"] == auto["forget"].k
    assert result.summary["clusters_retain"] == auto["retain"].k
assert sorted(maps["one_to_one"].tolist()) == list(range(auto["forget"].k))
assert all(k != target for k, target in enumerate(maps["one_to_one"].tolist()))
assert hubs.farthest["mean distance"] >= hubs.one_to_one["mean distance"]
assert (suggested > 1).all(axis=None)
