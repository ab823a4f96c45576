from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import yaml
from IPython.core.formatters import DisplayFormatter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from cure_core import figures
from cure_core.faces.faceset import FaceSet
from cure_core.figure_index import ENTRIES, adopt

ROOT = Path(__file__).parents[1]
INDEX = ROOT / "figures" / "index.yaml"
MODELS, SETS = ("before", "after", "oracle"), ("forget", "retain", "test")
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


def tables(models=MODELS, seeds=(0, 1, 2), epochs=12):
    return {
        "score_distributions": figures.score_histogram(scores(models)),
        "measures": figures.measure_table(tidy(models, seeds)),
        "roc": figures.roc_table(scores(models)),
        "loss_terms": history(epochs, seeds),
    }


def drawn_faces(name="synthfaces"):
    images = np.random.default_rng(0).integers(0, 256, (12, 112, 112, 3), dtype=np.uint8)
    return FaceSet(name, images, np.repeat(np.arange(3), 4), "0")


each_figure = pytest.mark.parametrize("name", sorted(figures.DRAWN))
cases = pytest.mark.parametrize(
    "given",
    [{}, {"models": ("before", "after")}, {"seeds": (0,)}, {"epochs": 2}],
    ids=["full", "without an oracle", "one seed", "two epochs"],
)


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


@each_figure
@cases
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


@each_figure
@cases
def test_no_text_overlaps_another_or_leaves_the_page(name, given):
    figure = figures.draw(name, tables(**given)[name])
    boxes = visible_texts(figure)
    assert boxes
    page = figure.bbox
    for text, box in boxes.items():
        inside = page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
        assert inside, f"{text.get_text()!r} leaves the page"
    for (one, a), (two, b) in combinations(boxes.items(), 2):
        wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert wide <= 1 or high <= 1, f"{one.get_text()!r} overlaps {two.get_text()!r}"


@each_figure
def test_a_notebook_shows_the_figure(name):
    """As a cell's result: a bare Figure prints as '<Figure size ...>' unless pyplot is set up."""
    shown, _ = DisplayFormatter().format(figures.draw(name, tables()[name]))
    assert "image/png" in shown


@pytest.mark.parametrize("name", ["measures", "roc", "score_distributions"])
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
def test_two_saves_are_the_same_bytes_and_so_is_one_from_the_csv(name, tmp_path):
    data = tables()[name]
    first, second, third = tmp_path / "first", tmp_path / "second", tmp_path / "third"
    figure = figures.draw(name, data)
    figures.save_figure(figure, data, name, first)
    figures.save_figure(figure, data, name, second)
    again = pd.read_csv(first / f"{name}.csv")
    figures.save_figure(figures.draw(name, again), again, name, third)
    assert sorted(bytes_of(first)) == [f"{name}.{kind}" for kind in ("csv", "png", "svg")]
    assert bytes_of(second) == bytes_of(first)
    for kind in ("png", "svg"):
        assert (third / f"{name}.{kind}").read_bytes() == (first / f"{name}.{kind}").read_bytes()


def test_a_picture_without_data_has_no_csv(tmp_path):
    sheet = figures.draw_faces(drawn_faces(), people=3, captures=4)
    figures.save_figure(sheet, None, "faces", tmp_path / "first")
    figures.save_figure(sheet, None, "faces", tmp_path / "second")
    assert sorted(bytes_of(tmp_path / "first")) == ["faces.png", "faces.svg"]
    assert bytes_of(tmp_path / "first") == bytes_of(tmp_path / "second")


# The committed figures


@pytest.mark.skipif(not INDEX.exists(), reason="no figures are drawn yet")
def test_the_index_is_complete():
    index = yaml.safe_load(INDEX.read_text())
    assert index.keys() == ENTRIES.keys()
    for name, entry in index.items():
        said = ENTRIES[name]
        assert (entry["notebook"], entry["paper"], entry["caption"]) == (
            said.notebook,
            said.paper,
            said.caption,
        )
        assert entry["caption"]
        assert sorted(Path(file).suffix for file in entry["files"]) == [".png", ".svg"]
        drawn_from = [entry["data"]] if name in figures.DRAWN else []
        for file in [*entry["files"], entry["notebook"], *drawn_from]:
            assert (ROOT / file).is_file(), f"{name} names {file}, which is not there"
        assert entry["data"] is not None or name not in figures.DRAWN


def test_every_figure_of_tables_has_an_entry():
    assert figures.DRAWN.keys() <= ENTRIES.keys()
    for entry in ENTRIES.values():
        assert (ROOT / entry.notebook).is_file()
        assert entry.caption.endswith(".")


def run_folder(folder, record):
    for name, data in tables().items():
        figures.save_figure(Figure(), data, name, folder / "figures")
    (folder / "run.json").write_text(record)
    return folder


def test_a_run_is_taken_in(tmp_path):
    record = '{"profile": "quick", "parameters": {"dataset": "synthfaces"}}'
    run = run_folder(tmp_path / "run", record)
    adopt(run, tmp_path / "kept")
    kept = bytes_of(tmp_path / "kept")
    assert sorted(kept) == sorted(f"{name}.csv" for name in figures.DRAWN)
    assert kept == {name: (run / "figures" / name).read_bytes() for name in kept}


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ('{"profile": "lfw", "parameters": {"dataset": "lfw"}}', "lfw"),
        ('{"profile": "quick", "parameters": {}}', "None"),
    ],
)
def test_a_run_of_another_data_set_is_refused(tmp_path, record, said):
    run = run_folder(tmp_path / "run", record)
    with pytest.raises(ValueError, match=f"{said}.*only figures of SynthFaces"):
        adopt(run, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_run_that_lacks_a_table_changes_nothing(tmp_path):
    record = '{"profile": "quick", "parameters": {"dataset": "synthfaces"}}'
    run = run_folder(tmp_path / "run", record)
    (run / "figures" / f"{list(figures.DRAWN)[-1]}.csv").unlink()
    with pytest.raises(FileNotFoundError):
        adopt(run, tmp_path / "kept")
    assert not list((tmp_path / "kept").glob("*"))
