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
# the lowest membership recall among unsupervised methods. A rank needs a fair comparison, so here
#
# - every method gets the **same number of trials**, the same sampler, the same number of epochs
#   and the same rule: the best UES on *validation* requests, whose seeds are not reported; on
#   SynthFaces the three best trials meet again on two more validation requests;
# - the report is on **other requests and other seeds**, with 95 % intervals over the seeds and
#   differences paired by request and seed. Those seeds were looked at while budgets and variants
#   were chosen, so the comparison is repeated once on a second population (*redrawn*);
# - the **retrained oracle** is shown next to everything: the lowest membership recall is not the
#   best, since far below the oracle's value forgetting is detectable;
# - each method is also drawn as a **curve over its strength**, since a single operating point can
#   mislead.
#
# The peers were designed for classifiers or other tasks; each one's docstring says what was
# changed to make it label-free (`cure_core/objectives/`).
#
# The rows behind the figures took hours and are in `figures/`. `cure compare synthfaces` (or
# `lfw`, `redrawn`, `all`) runs only the missing rows. With your own faces this notebook runs a
# comparison at the scale of its parameters.

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
unlearning = {"epochs": 20, "amp": "auto"}  # CureConfig, for every method
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
# What every method was given, and how many of the planned runs have a row. A mean is taken only
# over requests and seeds on which every method was run. `redrawn` is SynthFaces with other
# people, outsiders and teachers; nothing is tuned there.

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
# The winning trial of each method with its means over its validation requests, and the score of
# the first trial (the method's defaults) on the request that every trial had. A setting that is
# `at_bound`, at the end of its range, may have a better value beyond it.

# %%
chosen = tuning_tables.winners(trial_rows, plan)
chosen.round(3)

# %% [markdown]
# ## The main table
#
# **UES (CURE)** is F x S: the share of the forgotten people's recognisability above chance that
# is gone, times how little everyone else changed. F is measured on the images that were
# unlearned; *UES, new images* is measured on other images of the same people. **ToW** is the
# closeness to the retrained oracle, another goal than erasure: the methods that erase most are
# not close to it. The membership attack is fitted to each model; compare its recall with the
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
# CURE, CURE+ and CURE-scatter minus every other method, by UES and by UES on new images: paired
# by seed, means with 95 % intervals over the seeds. If an interval includes 0, the difference is
# not significant.

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
# The best of many trials is partly lucky. The validation score of each method's winner, and the
# score of the same settings on the reported seeds; `difference` is the luck.

# %%
luck = tables.shrinkage(chosen, table, plan.requests[0])
print(luck.groupby("dataset").difference.mean().round(3).to_dict())
luck.round(3)

# %% [markdown]
# ## People or images?
#
# A person who asks to be forgotten means tomorrow's images too, which no method was given. A
# method that misreads a list of images scores on the first measure and not on the second.

# %%
fresh = figures.drawable("comparison_new_images", rows)
figures.draw("comparison_new_images", rows) if fresh else None

# %% [markdown]
# ## The verdict
#
# The criterion was fixed before the runs: on requests of people, CURE's interval lies above every
# label-free peer's, and its membership recall is no farther from the oracle's than any peer's.

# %%
verdicts = claims.verdicts(table)
verdicts.round(3)

# %% [markdown]
# The paper's two claims of rank, and the first on new images, for CURE and for our variants. The
# paper's numbers come from CASIA-WebFace and a formula that is not public; they are quoted, not
# compared. Its other claims are tested elsewhere: that no labels are needed in notebook 01,
# forgetting by quality in notebook 03.

# %%
paper = claims.against_paper(table)
paper

# %% [markdown]
# Why, as far as the rows show:
#
# - **CURE moves a person's images together**, so they still match each other. The methods that
#   score higher separate them: CURE+ pushes the images of a cluster apart, random relabelling
#   draws a wrong class for every image, CURE-scatter does both. (Dispersion pushes each image
#   away from its whole batch, and scores high on LFW only; we do not know why.) CURE needs
#   targets that are not near and centroids that are updated every epoch, as the ablations below
#   show.
# - **A search misses things.** CURE-scatter was designed after we had seen the reported rows of
#   the others, and chosen on validation requests, so its rank on the first population is after
#   the fact. On the redrawn population it is first again. Without its own term it scores the
#   same: it is CURE+ with settings that as many trials of CURE+ had not found. The best peer's
#   search may have missed as much.
# - **Settings transfer badly.** On LFW a method starts with its defaults and its three best
#   settings of SynthFaces, and has twelve trials on one request. NegGrad, NegGrad+, SCRUB, SSD
#   and LAF forget little there, or lose everything else.
# - **One validation request is not much.** On LFW winners fall short of their validation score by
#   more than twice as much as on SynthFaces, where the best trials meet again on two more
#   requests.
# - **Bad Teacher maps the forgotten to one direction.** They are confused with each other but
#   remain distinct from everyone else: they are identified after re-enrolment, and look like
#   members to an attack. UES, which verifies among the forgotten, does not show that; rank-1
#   after re-enrolment and membership recall do.
# - **Part of it is memorised.** On new images of the same people the strong erasers keep three
#   quarters to four fifths of their score on SynthFaces. Bad Teacher, whose target is a function
#   of the image, keeps all of it.
# - **The lowest recall is over-forgetting.** An image that the student treats unlike any other is
#   called a stranger more often than a real stranger is. The oracle's recall is what "never seen"
#   gives. Updating the centroids is what makes CURE forget, and also what lowers its recall:
#   without updates the recall returns to the oracle's value, and little is forgotten.
# - **What had no significant effect** with three seeds, in the ablations below: the cosine term,
#   the mix of a batch, a colder softmax, CURE's distribution term (which CURE here runs without).
#   Frozen batch-norm statistics make CURE worse.

# %% [markdown]
# ## Membership, compared with the oracle
#
# The retrained encoder's recall is what forgetting would give. To the right of the line the
# student still looks trained on the forgotten; to the left it treats them unlike anybody it never
# saw, which is detectable too.

# %%
figures.draw("comparison_membership", rows)

# %% [markdown]
# ## Strength, and both goals
#
# Each method from a tenth of its tuned strength to ten times it, all else as tuned. Then both
# goals of forgetting: erasure (UES) and indistinguishability from retraining (ToW).

# %%
figures.draw("frontier", curves) if figures.drawable("frontier", curves) else None

# %%
figures.draw("two_goals", rows) if figures.drawable("two_goals", rows) else None

# %% [markdown]
# ## Ablations
#
# One change at a time, all else as tuned, on the same requests and seeds.

# %%
figures.draw("ablations_cure", rows) if figures.drawable("ablations_cure", rows) else None

# %%
variants = figures.drawable("ablations_variants", rows)
figures.draw("ablations_variants", rows) if variants else None

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
# Processor time of one run on one thread, and its additional memory, as ratios to the oracle's
# training and to as many bare training steps (forward, backward, optimiser) of the same size,
# measured by `benchmarks/method_costs.py` on SynthFaces.

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
shared = ["comparison", "comparison_new_images", "comparison_membership", "two_goals"]
shared += ["ablations_cure", "ablations_variants", "label_noise"]
strength = dict.fromkeys(["frontier", "frontier_all"], curves)
for name, data in (dict.fromkeys(shared, rows) | strength).items():
    if figures.drawable(name, data):
        figures.save_figure(figures.draw(name, data), data, name, results / "figures")
sorted(path.name for path in results.rglob("*.png"))

# %% [markdown]
# ## What this showed
#
# The assertions check the rules: as many trials for each method, of as many settings, every run
# with the settings that won, and no reported request used in tuning. Tuning and report do share a
# pool of people: 120 on SynthFaces, 158 on LFW. Of the 15 people whom a reported seed forgets,
# two to seven on SynthFaces and none to two on LFW were also forgotten in a validation request.
# This applies to all methods. `redrawn` shares nobody.

# %%
given = trial_rows[trial_rows.method.isin(ran)].groupby(["dataset", "method"])
for had in (given.size(), given.settings.nunique()):
    assert had.groupby("dataset").nunique().eq(1).all()
assert tuning_tables.stale(rows[rows.method.isin(ran)], trial_rows, plan).empty
for data, arena in plan.data.items():
    validation = {*arena.validation.seeds, *arena.validation.finals}
    assert not validation & set(rows[rows.dataset == data].seed)
