# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Does CURE forget best for what it costs?
#
# The paper's claim (arXiv:2509.19562) is one of rank: the highest Unlearning Efficiency Score and
# the lowest membership recall among unsupervised methods. A rank is only worth something after a
# fair fight, so here
#
# - every method gets the **same number of trials**, the same sampler, the same length, and the same
#   rule: the best UES on *validation* requests, whose seeds are not reported; on SynthFaces the
#   best three trials meet again on two requests that they have not won on;
# - what is reported are **other requests and other seeds**, with 95 % intervals over the seeds,
#   differences paired by request and seed, and ranks; and, since those seeds were looked at while
#   budgets and variants were chosen, the fight once more on people drawn anew (*redrawn*);
# - the **retrained oracle** stands beside everything, since the lowest membership recall is not the
#   best one: far below the oracle's, forgetting shows;
# - each method is also drawn as a **curve over its strength**, since a single point can be bought.
#
# The peers were written for classifiers, or for other tasks; what was changed so that they do
# without labels stands in each one's docstring (`cure_core/objectives/`).
#
# The rows behind the figures took hours and lie in `figures/`. `cure compare synthfaces` (or `lfw`,
# `redrawn`, `all`) does what they lack; with the rows removed, all of it. On faces of your own this
# notebook carries out a comparison at the scale of its parameters.

# %% tags=["parameters"]
dataset = "synthfaces"  # synthfaces, lfw: the study's rows; others are run here
dataset_options = {}  # options of the manifest's data set
methods = ["cure", "cure_plus", "scrub", "dispersion"]  # on other data sets; [] is all
trials = 1  # settings tried for each method there; 1: only the defaults
encoder = "small"
weights = None  # weights to start from, a path below the data root; None: random ones
split = {}  # min_images, max_images, outsiders, heldout: changes to the manifest's
forget_people = 15  # how many people are to be forgotten
teacher = {"epochs": 16, "margin": 0.2}  # the training recipe
unlearning = {"epochs": 20}  # CureConfig, for every method
n_pairs = 1500  # genuine pairs of each set, and as many impostor pairs
n_bootstrap = 300  # not used here: intervals are over seeds
device = None  # not used, like `processes`: the comparison runs on CPUs
processes = 1
seeds = [0, 1, 2]  # of the reported runs, on other data sets
least_ues = 0.65  # notebook 02 asserts these two
least_stability = 0.88
bounds_for = {"dataset": "synthfaces", "dataset_options": {}, "method": "cure_plus"}
out = None  # where results and figures go; None: runs/05_comparison of the project
progress = True

# %%
from pathlib import Path

import pandas as pd

from cure_study import figures
from cure_study.evaluation.report import save_table
from cure_study.experiments.comparison import claims, tables, tuning_tables
from cure_study.experiments.comparison.plan import read_plan
from cure_study.experiments.comparison.runs import compare
from cure_study.experiments.comparison.store import read_rows
from cure_study.runner.runs import ROOT, RUNS

study_plan = read_plan()
plan = study_plan.at(
    dataset,
    dataset_options,
    trials=trials,
    encoder=encoder,
    weights=weights,
    forget_people=forget_people,
    split=split,
    teacher=teacher,
    unlearning=unlearning,
    epochs=unlearning.get("epochs", 10),
    n_pairs=n_pairs,
    validation={"seeds": [100], "n_pairs": n_pairs},
    seeds=seeds,
    few_seeds=seeds[:1],
)
ours = plan is study_plan
results = Path(out or RUNS / "05_comparison")
folder = ROOT / "figures" if ours else results
if not ours:
    compare(plan, dataset, folder, methods=methods or None, progress=progress)
rows, trial_rows, curves = (
    read_rows(folder, name) for name in ("comparison", "tuning", "frontier")
)
trial_rows = tuning_tables.planned_trials(trial_rows, plan)

# %% [markdown]
# ## The budget
#
# What every method was given, and how many of the planned runs have their row by now. A mean is
# taken only over requests and seeds that every method has been run on. `redrawn` is SynthFaces with
# other people, strangers and teachers; nothing is tuned there.

# %%
tuned_twice = [name for name, arena in plan.data.items() if arena.validation.finals]
budget = pd.DataFrame(
    {
        name: {
            "trials a method": arena.trials if name in plan.data else 0,
            "of them in finals": arena.validation.finalists if name in tuned_twice else 0,
            "epochs of a trial or run": arena.epochs,
            "requests x seeds": f"{len(plan.requests)} x {len(arena.seeds)}",
            "trial runs done": int((trial_rows.dataset == name).sum()),
            "runs done": int((rows.dataset == name).sum()),
        }
        for name, arena in ((name, plan.dataset_plan(name)) for name in plan.datasets)
    }
)
budget

# %% [markdown]
# ## The settings
#
# The trial that won for each method with its means over all its validation requests, and how the
# first, its own defaults, did on the request that every trial had. Beyond a setting that is
# `at_bound`, an end of its range, there may be more to find.

# %%
chosen = tuning_tables.winners(trial_rows, plan)
chosen.round(3)

# %% [markdown]
# ## The main table
#
# **UES (CURE)** is F x S: how much of the forgotten people's recognisability above chance is gone,
# times how little everyone else's has moved. F is measured on the very images that were
# unlearned; in *UES, new images* it is measured on others of the same people. **ToW** is nearness
# to the retrained oracle, another goal than erasure: what erases most is not near it. The
# membership attack is fitted anew for each model; its recall says something only beside the
# oracle's.

# %%
main = [*plan.methods]
ran = [m for m in main if m in set(rows.method)]
reported = tables.complete(rows, ran)
table = tables.summary(reported)
references = rows[rows.method.isin(["oracle", "teacher"])]
for (data, request), case in table.groupby(["dataset", "request"], sort=False):
    oracle = references.query("dataset == @data and request == @request and method == 'oracle'")
    print(
        f"\n{data}, {request}: the oracle's UES {oracle.ues.mean():.3f}, "
        f"membership recall {oracle.membership_recall.mean():.3f}"
    )
    print(tables.readable(case).to_string(index=False))

# %%
figures.draw("comparison", rows)

# %% [markdown]
# ## Differences
#
# Each of ours less every other method, by UES and then by UES on new images: paired by seed,
# means with 95 % intervals over the seeds. An interval that holds 0 does not tell the two apart.

# %%
differences = pd.concat(
    [tables.differences(reported, score).assign(score=score) for score in ("ues", "ues_fresh")]
)
for (data, request, score), case in differences.groupby(
    ["dataset", "request", "score"], sort=False
):
    print(f"\n{data}, {request}, {score}")
    print(tables.difference_matrix(case).to_string())

# %% [markdown]
# ## What a validation score is worth
#
# The best of many trials is also a lucky one. What each method's winner had on the validation
# requests that chose it, and what the same settings have on the reported seeds; `difference` is
# the luck.

# %%
luck = tables.shrinkage(chosen, table, plan.requests[0])
print(luck.groupby("dataset").difference.mean().round(3).to_dict())
luck.round(3)

# %% [markdown]
# ## People or images?
#
# Who asks to be forgotten means to be gone on tomorrow's image too, which no method was given. A
# method that learns to misread a list of images scores by the first mark and not by the second.

# %%
fresh = figures.drawable("comparison_new_images", rows)
figures.draw("comparison_new_images", rows) if fresh else None

# %% [markdown]
# ## The verdict
#
# The test was set before the runs: on requests of people, CURE's interval lies above every
# label-free peer's, and its membership recall is no further from the oracle's than any peer's.

# %%
verdicts = claims.verdicts(table)
verdicts.round(3)

# %% [markdown]
# The paper's two claims of rank, and the first by new images, in the same words for `cure`, its
# method, and for ours, `cure_plus` and `cure_scatter`. The paper's numbers come from CASIA-WebFace
# and a formula that is not public; they are quoted, not compared. Its other claims are tested where
# they belong: that no labels are needed in notebook 01, forgetting by quality in 03.

# %%
paper = claims.against_paper(table)
paper

# %% [markdown]
# Why, as far as the study's rows tell:
#
# - **The paper's objective moves a person's images together**, so that they go on matching each
#   other. Those that lead scatter them: `cure_plus` drives a cluster apart, random relabelling
#   draws a wrong class for every image, `cure_scatter` does both. (`dispersion` parts each
#   image from its whole batch, and leads on LFW only; why, we do not know.) What the paper's
#   objective does reach needs targets that are not near and centroids renewed each epoch, as the
#   ablations below show: the target has to keep running ahead of the faces that follow it.
# - **A search misses things.** `cure_scatter` was made after the others had been compared, from
#   what their reported rows said, and chosen on validation requests: its rank there is after
#   the fact. On people drawn anew it is first again. Without its own term it is `cure_plus` at
#   settings that as many trials of `cure_plus` had not found, and scores as much: the gain is
#   the settings'. The best peer's search may have missed as much.
# - **Settings travel badly.** On LFW a method begins with its defaults and its three best of
#   SynthFaces and goes on from there, twelve trials on one request. Those that part the images of
#   a person carry over, `cure_scatter` not ahead of the others; NegGrad, NegGrad+, SCRUB, SSD and
#   LAF hardly forget there, or lose everything else.
# - **One request is little to choose on.** On LFW winners fall short of their validation score by
#   more than twice as much as on SynthFaces, where the best trials meet again on two more requests.
# - **Bad Teacher folds the forgotten into one direction**: confused with each other, they stay
#   apart from everyone else, are identified once enrolled anew, and look like members to an attack.
#   UES, by verification among the forgotten, does not see that, nor does it by new images; rank
#   one once re-enrolled and membership recall do.
# - **Some of it is learnt by heart.** On new images of the same people the strong erasers keep
#   three quarters to four fifths of their score on SynthFaces, `bad_teacher`, whose target is a
#   function of the image, all of it.
# - **The lowest recall is over-forgetting.** An image that the student treats unlike any it has or
#   has not seen is called a stranger more often than a real stranger is. The oracle's recall is
#   what "never seen" gives. The part that makes the paper's objective forget, renewed centroids, is
#   what takes its recall down: without it recall comes home (0.44, the oracle's 0.40), F to 0.17.
# - **What was ruled out** as far as three seeds can, by the ablations below: the cosine term, which
#   has no gradient at the start, is not missed; neither the mix of a batch nor a colder softmax
#   moves the score by what could be told; frozen batch-norm statistics make `cure` worse, on LFW
#   much. *CURE* here is without its distribution term, which gains nothing that could be told.

# %% [markdown]
# ## Membership, beside the oracle
#
# A retrained encoder's recall is what forgetting would give. To the right of the line the student
# still looks trained on the forgotten; to the left it treats them unlike anybody it never saw, and
# that shows too.

# %%
figures.draw("comparison_membership", rows)

# %% [markdown]
# ## The frontier
#
# Each method from a tenth of its tuned strength to ten times it, all else as tuned: one knob, five
# values. Where a curve lies below another's everywhere, this knob does not rescue the method.

# %%
figures.draw("frontier", curves) if figures.drawable("frontier", curves) else None

# %% [markdown]
# ## What each part is worth
#
# One change at a time, all else as tuned, on the same requests and seeds.

# %%
figures.draw("ablations", rows) if figures.drawable("ablations", rows) else None

# %% [markdown]
# ## When labels are wrong
#
# The paper's reason to do without labels: they may be missing, or wrong. SCRUB and NegGrad+ with
# the true labels, and with 20 and 40 % of them wrong.

# %%
figures.draw("label_noise", rows) if figures.drawable("label_noise", rows) else None

# %% [markdown]
# ## What it costs
#
# Processor time of one run on one thread, and the memory it needed beyond what was held before,
# as ratios to the oracle's training and to as many bare steps (forward, backward, optimiser) of the
# same size, measured by `benchmarks/method_costs.py` on SynthFaces.

# %%
costs = pd.read_csv(ROOT / "figures" / "method_costs.csv").set_index("method")
costs.drop(columns="dataset")

# %%
kept = {
    "summary": table,
    "differences": differences,
    "verdicts": verdicts,
    "claims": paper,
}
for name, data in kept.items():
    save_table(data, results / f"{name}.csv")
shared = ["comparison", "comparison_new_images", "comparison_membership", "ablations"]
drawn = dict.fromkeys([*shared, "label_noise"], rows)
for name, data in {**drawn, "frontier": curves}.items():
    if figures.drawable(name, data):
        figures.save_figure(figures.draw(name, data), data, name, results / "figures")
sorted(path.name for path in results.rglob("*.png"))

# %% [markdown]
# ## What this showed
#
# The assertions hold the fight to its rules: as many trials for each, of as many settings, every
# run by the settings that won, and no request reported that was tuned on. What tuning and report do
# share is the pool: a seed draws its people from the 120 of SynthFaces, or the 158 of LFW. Of the
# 15 whom a reported seed forgets, two to seven on SynthFaces and none to two on LFW were also
# forgotten in a validation request, and many of the strangers whom S is judged on are the same. It
# is so for all methods, and an interval over seeds says how much redrawing from that pool changes,
# no more. On `redrawn` nobody is shared.

# %%
given = trial_rows[trial_rows.method.isin(ran)].groupby(["dataset", "method"])
for had in (given.size(), given.settings.nunique()):
    assert had.groupby("dataset").nunique().eq(1).all()
assert tuning_tables.stale(rows[rows.method.isin(ran)], trial_rows, plan).empty
for data, arena in plan.data.items():
    validation = {*arena.validation.seeds, *arena.validation.finals}
    assert not validation & set(rows[rows.dataset == data].seed)
