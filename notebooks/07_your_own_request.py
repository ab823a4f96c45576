# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A request of your own
#
# Someone asks to be removed from a face encoder. You have the encoder, a folder of images, and a
# list of what must go. Nobody needs to know who is on which image.
#
# This notebook
#
# 1. reads the request, and checks every file and line before anything is computed;
# 2. looks for what the list may have forgotten: copies, and images that look like the same people;
# 3. makes the encoder forget, and holds out some of the other images to measure what it cost;
# 4. measures the encoder before and after;
# 5. writes the new encoder and a report that can be checked.
#
# `cure forget IMAGES --forget LIST --weights FILE --out FOLDER` runs it from the command line. As
# it stands it runs a demonstration: synthetic people, written to files, of whom some ask to be
# removed. To use your own images, change the parameters below.

# %% tags=["parameters"]
images = None  # the folder of images, flat or nested; None: a demonstration on synthetic faces
forget = None  # the list: a text file of paths, folders or globs, a CSV, or a folder
weights = None  # of the encoder that must forget
encoder = "mobilefacenet"  # or small, iresnet50, ..., or module:function for your own
retain = None  # a list of what must stay; None: all other images
method = "auto"  # the goal's own: cure_plus or blend
goal = "erase"  # the forgotten are no longer recognised; or "blend": as if never seen
identities = "none"  # who is on which image, for the measures alone: "folders", or a CSV
strangers = None  # a folder of people that the encoder never saw, for the attacks
align = False  # find the face in raw photos and align it
include_lookalikes = False  # also forget images that clearly look like the forgotten ones
after = None  # the folder of an earlier request's result, which this one continues
oracle = False  # also retrain without the forgotten images, to compare with; needs identities
onnx = False  # also export the new encoder to ONNX
unlearning = {}  # CureConfig: epochs (or "auto"), clusters, learning_rate, ...
teacher = {}  # the oracle's training recipe: epochs, margin, ...
device = None  # "cuda" for a GPU; None is the CPU
seed = 0
n_bootstrap = 300  # resamples of people for each interval
demo = {"people": 40, "images_per_person": 10, "leaving": 6, "strangers": 20}
demo_teacher = {"epochs": 24, "margin": 0.2}  # the training of the demonstration's encoder
out = None  # where the result goes; None: runs/07_your_own_request of the project
progress = True

# %%
from pathlib import Path

from cure_core.training.arcface import Recipe
from cure_study import figures
from cure_study.erasure.demo import write_demo
from cure_study.erasure.files import read
from cure_study.erasure.forecast import forecast
from cure_study.erasure.judge import judge
from cure_study.erasure.request import clean_up, erase, prepare, train_oracle
from cure_study.erasure.result import save
from cure_study.erasure.setting import setting_of
from cure_study.erasure.words import summary
from cure_study.evaluation.report import save_table
from cure_study.runner.runs import RUNS

folder = Path(out or RUNS / "07_your_own_request")
parameters = dict(globals())
if images is None:
    print("a demonstration: drawing synthetic people, and training an encoder on them")
    recipe = Recipe(**demo_teacher)
    parameters |= write_demo(RUNS / "request_demo", recipe, progress=progress, **demo)
setting = setting_of(parameters)

# %% [markdown]
# ## The request
#
# Every file that is not used is counted with the reason, and a line of the list that matches
# nothing is an error. Check the counts before you go on.

# %%
files = read(setting, progress)
files

# %%
files.lines()

# %% [markdown]
# How long it will take, measured with one batch of your images:

# %%
print(forecast(files))

# %% [markdown]
# ## What the list may have forgotten
#
# A real list is incomplete. Below are images that would stay although they are copies of a
# forgotten image, or look like the same person by the encoder's own embeddings.
# `include_lookalikes = True` takes along copies and those above the stricter of the two thresholds;
# look at the others, and add to the list what belongs there.

# %%
request = prepare(files, progress)
save_table(request.found.table, folder / "lookalikes.csv")
print(f"{request.found}; see lookalikes.csv")
print(request.found.explained)
request.found.table

# %% [markdown]
# ## Forgetting
#
# The new encoder, the *student*, starts as a copy of the old one. It sees images alone: no name, no
# folder, no identity. A part of the images that stay is held out, to measure what the others lost.
# An interrupted run goes on where it was.

# %%
print(f"forgetting {len(request.forget):,} images")
result = erase(request, progress)
result

# %% [markdown]
# ## Before and after
#
# Without identities, clusters of the old encoder's embeddings stand in for people. Brackets are
# 95 % intervals that resample people. A measure that cannot be computed, because there are too few
# images or no strangers, is left out.

# %%
print(f"measuring; forgetting took {result.seconds:.0f} s")
retrained = train_oracle(request, progress) if oracle else None
judged = judge(request, result.student, retrained, progress)
judged

# %% [markdown]
# Where the two curves of a panel overlap, no threshold separates two images of one person from
# images of two people.

# %%
enough = {"forget", "retain"} <= set(judged.scores["set"])
histogram = figures.score_histogram(judged.scores) if enough else None
figures.draw("score_distributions", histogram) if enough else "too few pairs to draw"

# %% [markdown]
# The retained images that moved most. If one of them matters, enrol it again.

# %%
judged.moved.head(10)

# %% [markdown]
# ## The result
#
# `student.safetensors` is the new encoder: `cure_core.encoders.build(encoder, path)` loads it.
# `report.html` is for the person who asked, for the engineer and for the auditor; `cure verify
# FOLDER` checks all of it again. Decoded copies of the images are removed from the cache.

# %%
report = save(request, result, judged, folder, retrained)
clean_up(files)
print(*summary(report), sep="\n")
sorted(path.name for path in folder.iterdir() if path.name[0] != ".")

# %% [markdown]
# ## What this showed
#
# The assertions check what must hold for every request. The report says how well it was forgotten.

# %%
assert set(request.forget).isdisjoint(request.retain)
assert set(request.forget).isdisjoint(request.judged)
assert set(files.forget) <= set(request.forget)
assert report.counts.forget == len(request.forget)
assert (folder / "report.html").is_file()
