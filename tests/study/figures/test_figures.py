import json
from functools import cache
from itertools import combinations, product
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from IPython.core.formatters import DisplayFormatter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from cure_core.unlearning import CureConfig
from cure_study import figures
from cure_study.data.faceset import FaceSet
from cure_study.evaluation.report import save_table
from cure_study.experiments.clusters import farthest_map
from cure_study.experiments.clusters.drift import DRIFT
from cure_study.experiments.clusters.sweep import departed, plan
from cure_study.experiments.comparison.plan import read_plan
from cure_study.experiments.quality import scorers
from cure_study.experiments.quality.setting import QualitySetting, conditions
from cure_study.figures.attacked import TRIED
from cure_study.figures.attacks import MEMBERSHIP, WAYS
from cure_study.figures.clusters import AGREEMENT, PANELS
from cure_study.figures.entries import ENTRIES
from cure_study.figures.index import _figure, adopt, redraw
from cure_study.figures.maps import apart

ROOT = Path(__file__).parents[3]
INDEX = ROOT / "figures" / "index.yaml"
MODELS, SETS = ("before", "after", "oracle"), ("forget", "retain", "test")
WITHOUT_DATA = {"framework", "faces"}
COMPARED = (
    *("comparison", "comparison_new_pictures", "comparison_membership"),
    *("ablations", "label_noise"),
)
SHEETS = {"cluster_faces", "quality_deciles"}
SHOWN = ("forget", "retain", "unseen")
TERMS = ("cosine", "contrastive_forget", "contrastive_retain", "matching", "distribution")


def scores(models=MODELS, each=400):
    """Genuine pairs about 0.6, impostors about 0; nothing to tell for the forgotten, after."""
    rng = np.random.default_rng(0)
    rows = []
    for model in models:
        for which in SETS:
            genuine = np.tile([True, False], each)
            forgotten = (model, which) == ("after", "forget")
            score = rng.normal(np.where(genuine & (not forgotten), 0.6, 0.0), 0.2).clip(-1, 1)
            rows.append(
                pd.DataFrame({"model": model, "set": which, "genuine": genuine, "score": score})
            )
    return pd.concat(rows, ignore_index=True)


def tidy(models=MODELS, seeds=(0, 1, 2)):
    rng = np.random.default_rng(1)
    rows = [
        (model, which, metric, seed, rng.uniform())
        for model in models
        for metric, which, _ in figures.MEASURES
        for seed in seeds
    ]
    return pd.DataFrame(rows, columns=["model", "set", "metric", "seed", "value"])


def history(epochs=12, seeds=(0, 1, 2)):
    rng = np.random.default_rng(2)
    rows = [
        {"epoch": e + 1, **{term: rng.uniform(0, 2000) ** 0.5 for term in TERMS},
         "loss": rng.uniform(), "gradient_norm": rng.uniform(), "seed": seed}
        for seed in seeds
        for e in range(epochs)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def criteria(names, ks=(2, 4, 8, 16, 32, 64, 140)):
    rng = np.random.default_rng(3)
    rows = [
        {"side": side, "k": k, "criterion": name, "chosen": 15, "people": 16,
         "value": rng.uniform(0, 1 if name != "Calinski-Harabasz" else 4000)}
        for side in ("forget", "retain") for name in names for k in ks
    ]  # fmt: skip
    return pd.DataFrame(rows)


def farthest(clusters=15):
    centroids = torch.randn(clusters, 8, generator=torch.Generator().manual_seed(0))
    return farthest_map.map_table(centroids, farthest_map.target_maps(centroids))


def sizes():
    side = ["forget"] * 15 + ["retain"] * 85
    rank = [*range(15), *range(85)]
    size = [30 - r // 4 for r in rank]
    return pd.DataFrame({"side": side, "rank": rank, "size": size, "main_person": [18] * 100})


def drift(epochs=12):
    rng = np.random.default_rng(4)
    watched = {name: rng.uniform(0, 1, epochs) for name in DRIFT}
    return pd.DataFrame({"epoch": np.arange(1, epochs + 1), **watched})


def sensitivity(seeds=(0, 1, 2)):
    rng = np.random.default_rng(5)
    rows = []
    for run in plan():
        if run.seed in seeds:
            config, target_map = departed(CureConfig(), (15, 86), run)
            settings = {"tau": config.tau, "temperature": config.temperature}
            ues = rng.uniform(0.2, 0.5)
            rows.append(run._asdict() | settings | {"target_map": target_map, "ues": ues})
    return pd.DataFrame(rows)


def coordinates(models=MODELS, each=60):
    rng = np.random.default_rng(6)
    which = np.repeat(SHOWN, each)
    rows = [
        pd.DataFrame({"model": model, "set": which, "x": x, "y": y})
        for model in models
        for x, y in [rng.normal(0, 30, (2, 3 * each))]
    ]
    return pd.concat(rows, ignore_index=True)


def moves():
    before, after = coordinates(("before",)), coordinates(("after",))
    after = after[["x", "y"]].add_suffix("_after") + 10
    drawn = np.arange(len(before)) < 40
    return pd.concat([before, after], axis=1).assign(change=0.5, drawn=drawn)


def map_clusters(models=MODELS):
    """Sixteen clusters, a row of four at one place each: their numbers have to be put apart."""
    cluster = np.repeat(np.arange(16), 5)
    own = pd.DataFrame(
        {"cluster": cluster, "x": 20 * (cluster % 4), "y": 20 * (cluster // 4 // 2),
         "centre": np.arange(80) % 5 == 0}
    )  # fmt: skip
    return pd.concat([own.assign(model=model) for model in models if model != "oracle"])


def comparison(seeds=(0, 1, 2, 3, 4), datasets=("synthfaces", "lfw")):
    """Every method on every request; what varies one on the first alone, as the plan has it."""
    rng, planned = np.random.default_rng(7), read_plan()
    rows = []
    for dataset, request in product(datasets, planned.requests):
        names = [*planned.methods, "oracle", "teacher"]
        if request == planned.requests[0]:
            names += [*planned.references, *planned.variants]
        for method, seed in product(names, seeds):
            ues, recall, oracle = rng.uniform(0, 1, 3)
            rows.append(
                {"dataset": dataset, "request": request, "seed": seed, "method": method,
                 "ues": ues, "forgetting": ues, "stability": 1.0, "membership_recall": recall,
                 "membership_recall_oracle": oracle, "membership_auc": 0.7,
                 "membership_auc_oracle": 0.7,
                 "rank1_new_gallery": 0.5, "ues_fresh": 0.8 * ues}
            )  # fmt: skip
    return pd.DataFrame(rows)


def frontier(seeds=(0, 1, 2)):
    rng, planned = np.random.default_rng(8), read_plan()
    rows = [
        {"dataset": dataset, "method": method, "factor": factor, "seed": seed,
         "forgetting": rng.uniform(), "stability": rng.uniform()}
        for dataset in ("synthfaces", "lfw")
        for method, factor, seed in product(planned.methods, (1.0, *planned.factors), seeds)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    return table.assign(ues=table.forgetting * table.stability)


def attacked(seeds=(0, 1, 2), datasets=("synthfaces", "lfw")):
    """Every method of the committed plan, and both references; nobody moves by the teacher."""
    rng = np.random.default_rng(9)
    measures = [name for pair in TRIED.items() for name in (pair[0], pair[1][1]) if name]
    rows = [
        {"dataset": dataset, "seed": seed, "method": method, **{m: rng.uniform() for m in measures}}
        for dataset in datasets
        for seed, method in product(seeds, (*read_plan().attacked, "oracle", "teacher"))
    ]
    table = pd.DataFrame(rows)
    table.loc[table.method == "teacher", "collateral_spearman"] = np.nan
    return table


def quality_discard(datasets=("synthfaces", "lfw")):
    rng = np.random.default_rng(7)
    rows = [
        {"dataset": dataset, "scorer": name, "discarded": at, "fnmr": rng.uniform(), "area": 1.0}
        for dataset in datasets
        for name in (*scorers.SCORERS, "truth", "random", "oracle")
        for at in (0.0, 0.1, 0.2, 0.3)
        if (dataset, name) != ("lfw", "truth")
    ]
    return pd.DataFrame(rows)


def quality_changes(seeds=(0, 1, 2)):
    rng = np.random.default_rng(8)
    rows = [
        {"training": c.training, "method": c.method, "order": c.order, "fraction": c.fraction,
         "seed": seed, "protocol": protocol, "change": rng.normal(0, 0.01)}
        for c in conditions(QualitySetting()) if c.method != "teacher"
        for seed in seeds for protocol in ("unseen", "cross_age")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def quality_scores(kinds=("no", "blurred", "covered", "mislabelled")):
    rank = np.linspace(0.025, 0.975, 20)
    return pd.concat([pd.DataFrame({"kind": k, "rank": rank, "share": 0.05}) for k in kinds])


def attack_rows(models=MODELS, seeds=(0, 1, 2)):
    """Every signal, both curves: values rise with the model's place, an interval 0.2 wide."""
    lines = []
    for (k, model), seed in product(enumerate(models), seeds):
        value = 0.3 + 0.15 * k + 0.02 * seed
        for attack, metric in product(MEMBERSHIP, ("auc", "recall")):
            lines.append((model, attack, metric, np.nan, value, value - 0.1, value + 0.1, seed))
        for attack, metric in product(list(WAYS)[:3], ("rank1_old_gallery", "rank1_old_probe")):
            lines.append((model, attack, metric, np.nan, value, np.nan, np.nan, seed))
        for attack in list(WAYS)[3:]:
            lines.append((model, attack, "auc", np.nan, value, value - 0.1, value + 0.1, seed))
        for at in (1, 2, 5):
            lines.append((model, "few_shot", "rank1", at, value, np.nan, np.nan, seed))
        for n, at in product((1, 3), range(6)):
            lines.append((model, f"relearning_{n}", "accuracy", at, value, np.nan, np.nan, seed))
    columns = ["model", "attack", "metric", "at", "value", "low", "high", "seed"]
    return pd.DataFrame(lines, columns=columns)


def collateral(models=("after", "oracle"), each=40):
    near = np.linspace(0.1, 0.9, each)
    return pd.concat(
        [pd.DataFrame({"model": m, "nearness": near, "movement": near / (k + 2)})
         for k, m in enumerate(models)]
    )  # fmt: skip


def cost(sizes=(1000, 10_000, 100_000)):
    """Each part as large as the work it has."""
    lines = [("embedding", n, np.nan, np.nan, n / 1000) for n in sizes]
    lines += [("kmeans", n, k, np.nan, n * k / 1e8) for n in sizes for k in (10, 100, 1000, 10_000)]
    lines += [("unlearning", 20_000, np.nan, s, 20 + 200 * s) for s in (0.001, 0.01, 0.05, 0.2)]
    return pd.DataFrame(lines, columns=["what", "N", "K", "share", "seconds"])


@cache
def tables(models=MODELS, seeds=(0, 1, 2), epochs=12):
    return {
        "membership_attacks": attack_rows(models, seeds),
        "hidden": attack_rows(models, seeds),
        "recovery": attack_rows(models, seeds),
        "collateral": collateral(models[1:]),
        "cost": cost(),
        "quality_discard": quality_discard(),
        "quality_accuracy": quality_changes(seeds),
        "quality_scores": quality_scores(),
        "cluster_criteria": criteria([n for lines in PANELS.values() for n in lines]),
        "cluster_agreement": criteria(AGREEMENT),
        "cluster_sizes": sizes(),
        "farthest_map": farthest(),
        "cluster_drift": drift(epochs),
        "sensitivity": sensitivity(seeds),
        "map_joint": coordinates(models),
        "map_placed": coordinates(models),
        "map_pca": coordinates(models),
        "map_moves": moves(),
        "map_clusters": map_clusters(models),
        "score_distributions": figures.score_histogram(scores(models)),
        "measures": figures.measure_table(tidy(models, seeds)),
        "roc": figures.roc_table(scores(models)),
        "loss_terms": history(epochs, seeds),
        **dict.fromkeys(COMPARED, comparison(seeds)),
        "frontier": frontier(seeds),
        "attacks": attacked(seeds),
    }


def drawn_faces(name="synthfaces"):
    images = np.random.default_rng(0).integers(0, 256, (12, 112, 112, 3), dtype=np.uint8)
    return FaceSet(name, images, np.repeat(np.arange(3), 4), "0")


each_figure = pytest.mark.parametrize("name", sorted(figures.DRAWN))
ATTACKED = ("membership_attacks", "hidden", "recovery", "collateral")
JUDGED = ("score_distributions", "measures", "roc", "map_joint", *ATTACKED)
SEEDED = (
    "measures",
    "loss_terms",
    "sensitivity",
    "quality_accuracy",
    "frontier",
    "attacks",
    *COMPARED,
)
CASES = [
    *((name, {}) for name in sorted(figures.DRAWN)),
    *((name, {"models": ("before", "after")}) for name in JUDGED),
    *((name, {"seeds": (0,)}) for name in SEEDED),
    *((name, {"epochs": 2}) for name in ("loss_terms", "cluster_drift")),
]
each_case = pytest.mark.parametrize(("name", "given"), CASES, ids=str)


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def visible_texts(figure):
    """What is written in the figure once it is drawn, with the box of each text in pixels."""
    canvas = FigureCanvasAgg(figure)
    with mpl.rc_context(figures.STYLE):
        canvas.draw()
    renderer = canvas.get_renderer()
    hidden = set()
    for ax in figure.axes:
        if not ax.get_visible():
            hidden.update(ax.findobj(Text))
        for axis in (ax.xaxis, ax.yaxis):
            shown = {id(tick) for tick in axis._update_ticks()}  # those within the limits
            for tick in (*axis.majorTicks, *axis.minorTicks):
                if id(tick) not in shown:
                    hidden.update((tick.label1, tick.label2))
    texts = figure.findobj(lambda a: isinstance(a, Text) and a.get_visible() and a not in hidden)
    written = [text for text in texts if text.get_text().strip()]
    return {text: text.get_window_extent(renderer) for text in written}


# What is drawn


@each_case
def test_each_returns_a_figure_and_leaves_the_global_state_alone(name, given):
    import matplotlib.pyplot as plt

    plt.close("all")
    other = plt.figure()
    before = dict(mpl.rcParams)
    figure = figures.draw(name, tables(**given)[name])
    assert isinstance(figure, Figure)
    assert plt.get_fignums() == [other.number]
    assert dict(mpl.rcParams) == before
    plt.close(other)


@each_case
def test_no_text_overlaps_another_or_leaves_the_page(name, given):
    assert_apart(figures.draw(name, tables(**given)[name]))


def test_the_frontier_is_over_seeds_that_every_point_has():
    whole = frontier(seeds=(0, 1)).query("dataset == 'synthfaces'")
    begun = whole.assign(forgetting=0.0, seed=2)[:7]
    for ax, other in zip(
        figures.draw("frontier", pd.concat([whole, begun])).axes,
        figures.draw("frontier", whole).axes,
        strict=True,
    ):
        for one, two in zip(ax.lines, other.lines, strict=True):
            np.testing.assert_array_equal(one.get_xydata(), two.get_xydata())


def test_no_frontier_is_drawn_without_a_peer():
    rows = frontier()
    assert figures.drawable("frontier", rows)
    assert not figures.drawable("frontier", rows[rows.method.isin(["cure", "cure_plus"])])


# one thing that a table lacks: figure, rows it is lost in, columns lost, and what the figure says
LACKING = [
    ("attacks", {"method": "scrub"}, ["collateral_spearman"], "no value"),
    ("comparison_membership", {"method": "cure"}, ["membership_recall"], "no value"),
    ("comparison_new_pictures", {"method": "laf"}, ["ues_fresh"], "no value"),
    ("recovery", {"model": "oracle", "attack": "few_shot"}, ["value"], "no value: oracle"),
    ("membership_attacks", {"attack": "norm"}, ["value"], "no value"),
    ("hidden", {"attack": "oddness"}, ["value"], "no value"),
    ("roc", {"model": "after", "set": "test"}, ["tar"], "no value: after"),
    ("cluster_drift", {}, ["spread"], "no value: from each other"),
    ("cluster_criteria", {"side": "forget"}, ["value"], "no values"),
    ("quality_accuracy", {"method": "cure"}, ["change"], "no value: cure, lowest"),
    ("cost", {"what": "unlearning"}, ["seconds"], "not measured"),
    ("sensitivity", {"factor": "tau"}, ["ues"], "not run"),
    ("map_joint", {}, ["x"], "no points"),
]


@pytest.mark.parametrize(("name", "where", "lost", "said"), LACKING, ids=lambda x: str(x)[:30])
def test_a_figure_is_not_lost_for_one_value_and_names_it(name, where, lost, said):
    data = tables()[name].copy()
    if name == "attacks" and "scrub" not in set(data.method):
        data["method"] = data.method.replace("bad_teacher", "scrub")
    chosen = np.logical_and.reduce([data[k] == v for k, v in where.items()] or [data.index >= 0])
    assert chosen.any()
    data.loc[chosen, lost] = np.nan
    figure = figures.draw(name, data)
    assert said in {text.get_text() for text in figure.findobj(Text)}
    whole = figures.draw(name, tables()[name])
    assert said not in {text.get_text() for text in whole.findobj(Text)}


def spoilt(table):
    """A table short of something in many ways: a value gone, blank, alone or unknown."""
    numbers = table.select_dtypes("float").columns
    for column in table.columns.difference(numbers):
        values = list(dict.fromkeys(table[column]))
        if len(values) > 30:
            continue
        for value in {values[0], values[-1]}:
            own = table[column] == value
            yield f"{column} without {value}", table[~own]
            yield f"only {column} {value}", table[own]
            blank = {number: table[number].mask(own) for number in numbers}
            yield f"{column} {value} blank", table.assign(**blank)
        if isinstance(values[0], str):
            named = table[column].replace(values[0], "unheard_of")
            yield f"unknown {column}", table.assign(**{column: named})
    for name in numbers:
        yield f"{name} blank", table.assign(**{name: np.nan})


@pytest.mark.slow
@each_figure
@pytest.mark.filterwarnings("ignore")
def test_no_figure_is_lost_for_what_its_table_lacks(name):
    for what, data in spoilt(tables(seeds=(0, 1))[name]):
        if figures.drawable(name, data):
            try:
                figures.draw(name, data.reset_index(drop=True)).draw_without_rendering()
            except Exception as error:
                raise AssertionError(f"{name}, {what}: {error!r}") from error


def assert_apart(figure):
    boxes = visible_texts(figure)
    assert boxes
    page = figure.bbox
    for text, box in boxes.items():
        inside = page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
        assert inside, f"{text.get_text()!r} leaves the page"
    for (one, a), (two, b) in combinations(boxes.items(), 2):
        wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert wide <= 1 or high <= 1, f"{one.get_text()!r} overlaps {two.get_text()!r}"


@pytest.mark.parametrize("name", ["ablations", "label_noise", "comparison"])
def test_a_shared_table_without_a_figures_rows_does_not_draw_it(name):
    rows = comparison()
    main = rows[rows.method.isin([*read_plan().methods, "oracle", "teacher"])]
    assert figures.drawable(name, rows)
    assert figures.drawable(name, main) == (name == "comparison")
    assert not figures.drawable(name, rows[:0])


@each_figure
def test_a_notebook_shows_the_figure(name):
    """As a cell's result: a bare Figure prints as '<Figure size ...>' unless pyplot is set up."""
    shown, _ = DisplayFormatter().format(figures.draw(name, tables()[name]))
    assert "image/png" in shown


@pytest.mark.parametrize("name", JUDGED)
def test_a_model_that_was_not_judged_is_not_in_the_picture(name):
    figure = figures.draw(name, tables(models=("before", "after"))[name])
    assert not any("oracle" in text.get_text() for text in visible_texts(figure))


def test_histogram_shares_by_hand():
    """Bins of a quarter from -1 to 1; -0.9 and -0.8 fall in the first, 1 in the last."""
    given = pd.DataFrame(
        {
            "model": "before",
            "set": "forget",
            "genuine": [True, True, True, True, False],
            "score": [-0.9, -0.8, 0.1, 1.0, -1.0],
        }
    )
    data = figures.score_histogram(given, bins=8)
    shares = data[data.pair == "genuine"].set_index("score").share
    assert shares[shares > 0].to_dict() == {-0.875: 0.5, 0.125: 0.25, 0.875: 0.25}
    assert data[data.pair == "impostor"].share.tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


def test_roc_is_exact_where_it_is_thinned():
    """Every point kept is one of the curve: a naive count at some threshold gives it."""
    given = scores(models=("after",), each=60)
    data = figures.roc_table(given, points=30)
    for which in SETS:
        own = given[given.set == which]
        genuine, impostor = own.score[own.genuine], own.score[~own.genuine]
        naive = {((impostor > t).mean(), (genuine > t).mean()) for t in [*own.score, -2.0]}
        naive |= {((impostor >= t).mean(), (genuine >= t).mean()) for t in own.score}
        curve = data[data.set == which]
        assert set(zip(curve.far, curve.tar, strict=True)) <= naive
        assert curve.far.is_monotonic_increasing
        assert curve.tar.is_monotonic_increasing
        assert (curve.far.iloc[-1], curve.tar.iloc[-1]) == (1, 1)


def test_measures_are_looked_up_by_metric_and_set():
    given = tidy()
    data = figures.measure_table(given)
    assert len(data) == 9 * 3 * 3
    value = given[
        (given.metric == "tar") & (given.set == "retain") & (given.model == "after")
    ].set_index("seed")
    own = data[(data.measure == "TAR@FAR=1e-3, retained") & (data.model == "after")]
    assert own.set_index("seed").value.to_dict() == value.value.to_dict()


def test_only_drawn_faces_are_shown():
    assert isinstance(figures.draw_faces(drawn_faces(), people=3, captures=4), Figure)
    with pytest.raises(ValueError, match="only SynthFaces are shown in figures, not 'lfw'"):
        figures.draw_faces(drawn_faces("lfw"))


# What is written


@each_figure
def test_a_figure_redrawn_from_its_csv_is_the_same_to_the_byte(name, tmp_path):
    data, first, second = tables()[name], tmp_path / "first", tmp_path / "second"
    figures.save_figure(figures.draw(name, data), data, name, first)
    again = pd.read_csv(first / f"{name}.csv")
    figures.save_figure(figures.draw(name, again), again, name, second)
    assert sorted(bytes_of(first)) == [f"{name}.{kind}" for kind in ("csv", "png", "svg")]
    assert bytes_of(second) == bytes_of(first)


def extremes():
    """Two faces each, near and far, of two clusters of `drawn_faces`."""
    rows = [(c, kind, r, 4 * c + 2 * k + r, 0.25) for c in (0, 1)
            for k, kind in enumerate(("nearest", "farthest")) for r in (0, 1)]  # fmt: skip
    return pd.DataFrame(rows, columns=["cluster", "kind", "rank", "image", "distance"])


def test_a_sheet_of_clusters_shows_the_named_faces_and_only_drawn_ones():
    faces = drawn_faces()
    figure = figures.draw_cluster_faces(extremes(), faces)
    shown = [np.asarray(ax.images[0].get_array()) for ax in figure.axes]
    assert len(shown) == 8
    for image, at in zip(shown, range(8), strict=True):
        assert (image == faces.images[at]).all()
    with pytest.raises(ValueError, match="only SynthFaces are shown in figures, not 'lfw'"):
        figures.draw_cluster_faces(extremes(), drawn_faces("lfw"))


def deciles():
    """Twelve faces by tenths, the first ten tenths' poorest first."""
    return figures.decile_table(np.arange(12), columns=1)


def test_deciles_hold_each_tenth_and_show_only_drawn_faces():
    table = figures.decile_table(np.arange(100)[::-1], columns=3)
    assert len(table) == 30
    for number, own in table.groupby("decile"):
        assert own.image.between(90 - 10 * number, 99 - 10 * number).all()
    figure = figures.draw_quality_deciles(deciles(), drawn_faces())
    assert_apart(figure)
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert (shown[:112] == drawn_faces().images[deciles().image[0]]).all()
    with pytest.raises(ValueError, match="only SynthFaces are shown in figures, not 'lfw'"):
        figures.draw_quality_deciles(deciles(), drawn_faces("lfw"))


def test_numbers_that_touch_are_put_apart_and_no_other_moves():
    points = np.array([[0, 0], [0, 0], [0.1, 0], [9, 9]])
    moved = apart(points, 1.0)
    distances = [np.linalg.norm(a - b) for a, b in combinations(moved, 2)]
    assert min(distances) >= 1
    assert (moved[3] == points[3]).all()
    assert np.linalg.norm(moved - points, axis=1).max() < 2


def test_the_diagram_is_readable_and_repeats(tmp_path):
    """No text of the framework leaves its box's page, none overlaps, and it needs no data."""
    assert_apart(figures.draw_framework())
    for folder in ("first", "second"):
        figures.save_figure(figures.draw_framework(), None, "framework", tmp_path / folder)
    assert bytes_of(tmp_path / "first") == bytes_of(tmp_path / "second")


def test_a_picture_without_data_has_no_csv(tmp_path):
    sheet = figures.draw_faces(drawn_faces(), people=3, captures=4)
    figures.save_figure(sheet, None, "faces", tmp_path / "first")
    figures.save_figure(sheet, None, "faces", tmp_path / "second")
    assert sorted(bytes_of(tmp_path / "first")) == ["faces.png", "faces.svg"]
    assert bytes_of(tmp_path / "first") == bytes_of(tmp_path / "second")


# The committed figures


@pytest.mark.skipif(not INDEX.exists(), reason="no figures are drawn yet")
def test_the_index_is_complete():
    """Whatever has a table is in the index, with a caption, a notebook and its data."""
    index = yaml.safe_load(INDEX.read_text())
    made = []
    for name, entry in ENTRIES.items():
        table = INDEX.parent / f"{entry.table or name}.csv"
        if entry.without_data or (table.is_file() and figures.drawable(name, pd.read_csv(table))):
            made.append(name)
    assert list(index) == made
    for name, entry in index.items():
        said = ENTRIES[name]
        assert (entry["notebook"], entry["paper"], entry["caption"]) == (
            said.notebook,
            said.paper,
            said.caption,
        )
        assert entry["caption"]
        assert sorted(Path(file).suffix for file in entry["files"]) == [".png", ".svg"]
        assert (entry["data"] is None) == (name in WITHOUT_DATA)
        drawn_from = [] if entry["data"] is None else [entry["data"]]
        for file in [*entry["files"], entry["notebook"], *drawn_from]:
            assert (ROOT / file).is_file(), f"{name} names {file}, which is not there"


def test_every_figure_of_tables_has_an_entry():
    """What has no data is a diagram or the sheet of the data set itself; results always have."""
    assert {name for name, entry in ENTRIES.items() if entry.without_data} == WITHOUT_DATA
    assert figures.DRAWN.keys() | WITHOUT_DATA | SHEETS == ENTRIES.keys()
    assert len(ENTRIES) >= 12
    for entry in ENTRIES.values():
        assert (ROOT / entry.notebook).is_file()
        assert entry.caption.endswith(".")


def run_folder(folder, notebook="02_unlearning", dataset="synthfaces"):
    for name, data in tables().items():
        save_table(data, folder / "figures" / f"{name}.csv")
    save_table(extremes(), folder / "figures" / "cluster_faces.csv")
    save_table(deciles(), folder / "figures" / "quality_deciles.csv")
    record = {"notebook": notebook, "profile": "quick", "parameters": {"dataset": dataset}}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


@pytest.mark.parametrize(
    ("notebook", "taken"),
    [
        ("02_unlearning", {"score_distributions", "measures", "roc", "loss_terms"}),
        ("sweep", {"sensitivity"}),
        ("06_attacks", {"membership_attacks", "hidden", "recovery", "collateral"}),
        (
            "03_quality_aware_forgetting",
            {"quality_scores", "quality_discard", "quality_accuracy", "quality_deciles"},
        ),
        (
            "04_embedding_tsne",
            {"map_joint", "map_placed", "map_moves", "map_clusters", "map_pca"},
        ),
    ],
)
def test_a_run_brings_the_tables_of_its_own_figures(tmp_path, notebook, taken):
    run = run_folder(tmp_path / "run", notebook)
    adopt(run, tmp_path / "kept")
    kept = bytes_of(tmp_path / "kept")
    assert kept.keys() == {f"{name}.csv" for name in taken}
    assert kept == {name: (run / "figures" / name).read_bytes() for name in kept}


@pytest.mark.parametrize("dataset", ["lfw", None])
def test_a_run_of_another_data_set_is_refused(tmp_path, dataset):
    run = run_folder(tmp_path / "run", dataset=dataset)
    with pytest.raises(ValueError, match=f"{dataset}.*only figures of SynthFaces"):
        adopt(run, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_run_that_makes_no_figure_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'another', which makes no figure"):
        adopt(run_folder(tmp_path / "run", "another"), tmp_path / "kept")


def test_a_run_that_lacks_a_table_changes_nothing(tmp_path):
    run = run_folder(tmp_path / "run")
    (run / "figures" / "roc.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"roc\.csv"):
        adopt(run, tmp_path / "kept")
    assert not list((tmp_path / "kept").glob("*"))


def test_only_what_has_a_table_is_redrawn(tmp_path, monkeypatch):
    """A figure that no run has made yet is neither drawn nor named; a sheet comes from its CSV."""
    monkeypatch.setattr("cure_study.data.manifests.load", lambda name: drawn_faces(name))
    monkeypatch.setattr(figures, "draw_faces", lambda faces: figures.draw_framework())
    save_table(extremes(), tmp_path / "cluster_faces.csv")
    save_table(tables()["cluster_drift"], tmp_path / "cluster_drift.csv")
    drawn = redraw(tmp_path)
    named = ["framework", "faces", "cluster_faces", "cluster_drift"]
    assert [path.stem for path in drawn] == named
    assert list(yaml.safe_load((tmp_path / "index.yaml").read_text())) == named
    assert all(path.is_file() and path.with_suffix(".svg").is_file() for path in drawn)


@pytest.mark.parametrize("text", ["", "what\n1\n", "what,N,seconds,K,share\nkmeans,x,y,z,1\n"])
def test_a_table_that_cannot_be_drawn_is_named(tmp_path, text):
    (tmp_path / "cost.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"cost\.csv cannot be drawn .*restore it"):
        _figure("cost", tmp_path / "cost.csv", list)
