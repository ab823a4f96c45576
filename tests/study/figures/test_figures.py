"""The figures, drawn from the committed tables and from tables that lack something."""

import subprocess
import sys
from functools import cache
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml
from IPython.core.formatters import DisplayFormatter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from cure_study import figures
from cure_study.data.faceset import FaceSet
from cure_study.experiments.comparison.methods import LABELS
from cure_study.experiments.comparison.plan import read_plan
from cure_study.figures.index import INDEX, figure_from_table, redraw
from cure_study.figures.maps import apart

ROOT = Path(__file__).parents[3]
ENTRIES = yaml.safe_load(INDEX.read_text(encoding="utf-8"))
WITHOUT_DATA = {"framework", "faces"}
SHEETS = {"cluster_faces", "quality_deciles"}
NAMES = sorted(figures.FIGURES)
each_figure = pytest.mark.parametrize("name", NAMES)


@cache
def committed(name):
    return pd.read_csv(ROOT / ENTRIES[name]["data"])


def reduced(name, **kept):
    """The committed table of a figure, its rows with the given values of a column alone."""
    data = committed(name)
    for column, values in kept.items():
        data = data[data[column].isin(values)]
    return data.reset_index(drop=True)


STUDENT_ALONE = {"model": ("before", "after")}
CASES = [
    *((name, {}) for name in NAMES),
    *((name, STUDENT_ALONE) for name in NAMES if "after" in set(committed(name).get("model", ()))),
    *((name, {"seed": committed(name).seed[:1]}) for name in NAMES if "seed" in committed(name)),
    *((name, {"epoch": (1, 2)}) for name in ("loss_terms", "cluster_drift")),
]  # fmt: skip


def synthetic_faces(name="synthfaces"):
    images = np.random.default_rng(0).integers(0, 256, (12, 112, 112, 3), dtype=np.uint8)
    return FaceSet(name, images, np.repeat(np.arange(3), 4), "0")


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


def assert_legible(figure):
    """No text overlaps another or leaves the page; returns the texts."""
    boxes, page = visible_texts(figure), figure.bbox
    assert boxes
    for text, box in boxes.items():
        inside = page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
        assert inside, f"{text.get_text()!r} leaves the page"
    for (one, a), (two, b) in combinations(boxes.items(), 2):
        wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert wide <= 1 or high <= 1, f"{one.get_text()!r} overlaps {two.get_text()!r}"
    return [text.get_text() for text in boxes]


# What is drawn


@pytest.mark.parametrize(
    ("name", "kept"), CASES, ids=lambda x: x if isinstance(x, str) else "".join(x)
)
def test_a_figure_is_legible_and_leaves_the_global_state_alone(name, kept):
    other, before = plt.figure(), dict(mpl.rcParams)
    figure = figures.draw(name, reduced(name, **kept))
    assert isinstance(figure, figures.StudyFigure)
    assert plt.get_fignums() == [other.number]
    assert dict(mpl.rcParams) == before
    plt.close(other)
    texts = assert_legible(figure)
    if kept == STUDENT_ALONE:  # a model that was not evaluated is not in the legend
        assert not any("oracle" in text for text in texts)


def test_a_notebook_shows_a_figure():
    """A bare Figure as a cell's result prints as '<Figure size ...>' unless pyplot is set up."""
    shown, _ = DisplayFormatter().format(figures.draw("cost", committed("cost")))
    assert "image/png" in shown


def test_drawing_from_a_table_loads_no_training():
    """Nor does it load unlearning, an experiment's runs or the runner."""
    program = f"""
import sys
import pandas as pd
from cure_study import figures
for name in {["comparison", "roc", "attacks", "frontier"]}:
    figures.draw(name, pd.read_csv(f"{ROOT}/figures/{{name}}.csv"))
heavy = ("cure_core.training", "cure_core.unlearning", "cure_study.runner",
         "cure_study.experiments.comparison.runs", "cure_study.training_cache")
print(*(name for name in sys.modules if name.startswith(heavy)))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []


def test_the_frontier_is_over_seeds_that_every_point_has():
    whole = reduced("frontier", dataset=["synthfaces"])
    begun = whole.assign(forgetting=0.0, seed=99)[:7]
    for ax, other in zip(
        figures.draw("frontier", pd.concat([whole, begun])).axes,
        figures.draw("frontier", whole).axes,
        strict=True,
    ):
        for one, two in zip(ax.lines, other.lines, strict=True):
            np.testing.assert_array_equal(one.get_xydata(), two.get_xydata())


@pytest.mark.parametrize(
    ("name", "methods", "drawable"),
    [
        ("frontier", ["cure", "cure_plus"], False),
        ("ablations_cure", [*read_plan().methods, "oracle"], False),
        ("label_noise", [*read_plan().methods, "oracle"], False),
        ("comparison", [*read_plan().methods, "oracle"], True),
        ("comparison", [], False),
    ],
)
def test_a_shared_table_without_a_figures_rows_does_not_draw_it(name, methods, drawable):
    assert figures.drawable(name, committed(name))
    assert figures.drawable(name, reduced(name, method=methods)) == drawable


# one thing that a table lacks: figure, rows it is lost in, columns lost, and what the figure says
LACKING = [
    ("attacks", {"method": "dispersion"}, ["collateral_spearman"], "no value"),
    ("comparison_membership", {"method": "cure"}, ["membership_recall"], "no value"),
    ("comparison_new_images", {"method": "laf"}, ["ues_fresh"], "no value"),
    ("recovery", {"model": "oracle", "attack": "few_shot"}, ["value"], "no value: oracle"),
    ("membership_attacks", {"attack": "norm"}, ["value"], "no value"),
    ("hidden", {"attack": "oddness"}, ["value"], "no value"),
    ("roc", {"model": "after", "set": "test"}, ["tar"], "no value: after"),
    ("cluster_drift", {}, ["spread"], "no value: from each other"),
    ("cluster_criteria", {"side": "forget"}, ["value"], "no values"),
    (
        "quality_accuracy",
        {"method": "oracle"},
        ["accuracy"],
        "no value: retrained without the lowest quality",
    ),
    ("cost", {"what": "unlearning"}, ["seconds"], "not measured"),
    ("sensitivity", {"factor": "tau"}, ["ues"], "not run"),
    ("map_joint", {}, ["x"], "no points"),
]


@pytest.mark.parametrize(("name", "where", "lost", "message"), LACKING, ids=lambda x: str(x)[:30])
def test_a_figure_without_one_value_is_drawn_and_names_it(name, where, lost, message):
    data = committed(name).copy()
    chosen = np.logical_and.reduce([data[k] == v for k, v in where.items()] or [data.index >= 0])
    assert chosen.any()
    data.loc[chosen, lost] = np.nan
    assert message in {text.get_text() for text in figures.draw(name, data).findobj(Text)}
    whole = figures.draw(name, committed(name))
    assert message not in {text.get_text() for text in whole.findobj(Text)}


def damaged(table):
    """A table that lacks something, in many ways: a value absent, blank, alone or unknown."""
    numbers = table.select_dtypes("float").columns
    for column in table.columns.difference(numbers):
        values = list(dict.fromkeys(table[column]))
        if len(values) > 30:
            continue
        for value in {values[0], values[-1]}:
            rows = table[column] == value
            yield f"{column} without {value}", table[~rows]
            yield f"only {column} {value}", table[rows]
            blank = {number: table[number].mask(rows) for number in numbers}
            yield f"{column} {value} blank", table.assign(**blank)
        if isinstance(values[0], str):
            unknown = table[column].replace(values[0], "unheard_of")
            yield f"unknown {column}", table.assign(**{column: unknown})
    for name in numbers:
        yield f"{name} blank", table.assign(**{name: np.nan})


@pytest.mark.slow
@each_figure
@pytest.mark.filterwarnings("ignore")
def test_every_figure_is_drawn_whatever_its_table_lacks(name):
    table = committed(name)
    if "seed" in table:
        table = reduced(name, seed=(0, 1))
    for what, data in damaged(table):
        if figures.drawable(name, data):
            try:
                figures.draw(name, data.reset_index(drop=True)).draw_without_rendering()
            except Exception as error:
                raise AssertionError(f"{name}, {what}: {error!r}") from error


# The tables


def test_histogram_shares_by_hand():
    """Bins of a quarter from -1 to 1; -0.9 and -0.8 fall in the first, 1 in the last."""
    scores = pd.DataFrame(
        {
            "model": "before",
            "set": "forget",
            "genuine": [True, True, True, True, False],
            "score": [-0.9, -0.8, 0.1, 1.0, -1.0],
        }
    )
    data = figures.score_histogram(scores, bins=8)
    shares = data[data.pair == "genuine"].set_index("score").share
    assert shares[shares > 0].to_dict() == {-0.875: 0.5, 0.125: 0.25, 0.875: 0.25}
    assert data[data.pair == "impostor"].share.tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


def test_roc_is_exact_where_it_is_thinned():
    """Every point kept is one of the curve: a naive count at some threshold gives it."""
    genuine = np.tile([True, False], 60)
    score = np.random.default_rng(0).normal(np.where(genuine, 0.6, 0.0), 0.2).clip(-1, 1)
    scores = pd.DataFrame({"model": "after", "set": "test", "genuine": genuine, "score": score})
    curve = figures.roc_table(scores, points=30)
    thresholds = [*score, -2.0]
    naive = {((score[~genuine] > t).mean(), (score[genuine] > t).mean()) for t in thresholds}
    naive |= {((score[~genuine] >= t).mean(), (score[genuine] >= t).mean()) for t in thresholds}
    assert set(zip(curve.far, curve.tar, strict=True)) <= naive
    assert curve.far.is_monotonic_increasing
    assert curve.tar.is_monotonic_increasing
    assert (curve.far.iloc[-1], curve.tar.iloc[-1]) == (1, 1)


def test_measures_are_looked_up_by_metric_and_set():
    tidy = pd.DataFrame(figures.MEASURES, columns=["metric", "set", "label"])
    tidy = tidy.assign(model="after", seed=0, value=np.arange(len(tidy)) / 10)
    data = figures.measure_table(tidy.sample(frac=1, random_state=0)).set_index("measure")
    assert data.value.to_dict() == {m[2]: i / 10 for i, m in enumerate(figures.MEASURES)}


def test_numbers_that_touch_are_moved_apart_and_no_other_moves():
    points = np.array([[0, 0], [0, 0], [0.1, 0], [9, 9]])
    moved = apart(points, 1.0)
    distances = [np.linalg.norm(a - b) for a, b in combinations(moved, 2)]
    assert min(distances) >= 1
    assert (moved[3] == points[3]).all()
    assert np.linalg.norm(moved - points, axis=1).max() < 2


# Sheets of faces


def extremes():
    """Two faces each, near and far, of two clusters of `synthetic_faces`."""
    rows = [(c, kind, r, 4 * c + 2 * k + r, 0.25) for c in (0, 1)
            for k, kind in enumerate(("nearest", "farthest")) for r in (0, 1)]  # fmt: skip
    return pd.DataFrame(rows, columns=["cluster", "kind", "rank", "image", "distance"])


def test_a_sheet_of_clusters_shows_the_named_faces():
    faces = synthetic_faces()
    figure = figures.draw_cluster_faces(extremes(), faces)
    shown = [np.asarray(ax.images[0].get_array()) for ax in figure.axes]
    assert (np.stack(shown) == faces.images[:8]).all()


def test_deciles_hold_each_tenth_and_a_sheet_shows_them():
    table = figures.decile_table(np.arange(100)[::-1], columns=3)
    assert len(table) == 30
    for number, tenth in table.groupby("decile"):
        assert tenth.image.between(90 - 10 * number, 99 - 10 * number).all()
    few = figures.decile_table(np.arange(12), columns=1)
    figure = figures.draw_quality_deciles(few, synthetic_faces())
    assert_legible(figure)
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert (shown[:112] == synthetic_faces().images[few.image[0]]).all()


@pytest.mark.parametrize(
    "draw",
    [
        figures.draw_faces,
        lambda faces: figures.draw_cluster_faces(extremes(), faces),
        lambda faces: figures.draw_quality_deciles(figures.decile_table(np.arange(12)), faces),
    ],
)
def test_faces_of_real_people_are_refused(draw):
    with pytest.raises(ValueError, match="only SynthFaces are shown in figures, not 'lfw'"):
        draw(synthetic_faces("lfw"))


# What is written


@each_figure
def test_a_figure_drawn_again_from_its_csv_is_the_same_to_the_byte(name, tmp_path):
    data, first, second = committed(name), tmp_path / "first", tmp_path / "second"
    if "dataset" in data:  # one is enough, and faster
        data = data[data.dataset == data.dataset.iloc[-1]]
    figures.save_figure(figures.draw(name, data), data, name, first)
    again = pd.read_csv(first / f"{name}.csv")
    figures.save_figure(figures.draw(name, again), again, name, second)
    assert sorted(bytes_of(first)) == [f"{name}.{kind}" for kind in ("csv", "png", "svg")]
    assert bytes_of(second) == bytes_of(first)


def test_figures_without_data_repeat_and_have_no_csv(tmp_path):
    assert_legible(figures.draw_framework())
    for folder in (tmp_path / "first", tmp_path / "second"):
        sheet = figures.draw_faces(synthetic_faces(), people=3, captures=4)
        figures.save_figure(sheet, None, "faces", folder)
        figures.save_figure(figures.draw_framework(), None, "framework", folder)
    written = ["faces.png", "faces.svg", "framework.png", "framework.svg"]
    assert sorted(bytes_of(tmp_path / "first")) == written
    assert bytes_of(tmp_path / "first") == bytes_of(tmp_path / "second")


# The committed figures


def test_the_index_names_every_figure_with_its_files():
    """Figures without data are a diagram and the sheet of the data set; results always have."""
    assert figures.FIGURES.keys() | WITHOUT_DATA | SHEETS == ENTRIES.keys()
    for name, entry in ENTRIES.items():
        fields = {"files", "width", "data", "notebook", "paper", "caption"}
        assert entry.keys() - {"made_by"} == fields
        assert entry["files"] == [f"figures/{name}.png", f"figures/{name}.svg"]
        assert (entry["data"] is None) == (name in WITHOUT_DATA)
        assert entry["caption"].endswith(".")
        for file in (*entry["files"], entry["notebook"], entry["data"] or "README.md"):
            assert (ROOT / file).is_file(), f"{name} names {file}, which is not there"


@pytest.mark.parametrize("name", ENTRIES)
def test_a_figure_fits_the_width_that_the_index_says(name):
    """In inches, at the resolution of the committed files."""
    with Image.open(ROOT / "figures" / f"{name}.png") as image:
        width = image.width / figures.StudyFigure.print_dpi
    narrowest, widest = {"column": (0, figures.COLUMN), "page": (figures.COLUMN, figures.PAGE)}[
        ENTRIES[name]["width"]
    ]
    assert narrowest < width <= widest + 0.01


def test_methods_have_the_names_and_the_order_of_the_text():
    for name in ("comparison", "attacks", "comparison_membership"):
        labels = figures.draw(name, committed(name)).axes[0].get_yticklabels()
        shown = [label.get_text() for label in labels]
        assert shown == [label for label in LABELS.values() if label in shown]


def test_only_figures_with_a_table_are_drawn_again(tmp_path, monkeypatch):
    monkeypatch.setattr("cure_study.data.manifests.load", lambda name: synthetic_faces(name))
    monkeypatch.setattr(figures, "draw_faces", lambda faces: figures.draw_framework())
    extremes().to_csv(tmp_path / "cluster_faces.csv", index=False)
    committed("cluster_drift").to_csv(tmp_path / "cluster_drift.csv", index=False)
    drawn = redraw(tmp_path)
    assert [path.stem for path in drawn] == ["framework", "faces", "cluster_faces", "cluster_drift"]
    assert all(path.is_file() and path.with_suffix(".svg").is_file() for path in drawn)


@pytest.mark.parametrize("text", ["", "what\n1\n", "what,N,seconds,K,share\nkmeans,x,y,z,1\n"])
def test_a_table_that_cannot_be_drawn_is_named(tmp_path, text):
    (tmp_path / "cost.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"cost\.csv cannot be drawn .*restore it"):
        figure_from_table("cost", tmp_path / "cost.csv", list)
