"""The framework of the study, drawn by code."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from cure_study.figures import style

DATA, MODEL, STEP, REPORT = "#DCEAF5", "#FBE3D2", "#FFFFFF", "#DDF1E8"
CLUSTERED = "K-means, K chosen\nwithout labels (CURE:\nagain every $\\tau$ epochs)"
FORGET_LOSS = (
    "CURE: to the farthest centroid\nCURE+: away from the images of\n"
    "its own cluster; both: away\nfrom the teacher's embedding"
)
# name: x, y of the middle, width, height, colour, text; in a field of 100 x 50
BOXES = {
    "forget": (9, 39, 16, 8, DATA, "forget set\n(images, no labels)"),
    "retain": (9, 15, 16, 8, DATA, "retain set\n(images, no labels)"),
    "teacher": (29, 27, 13, 8, MODEL, "teacher\n(fixed)"),
    "forget clusters": (50, 41, 18, 10, STEP, CLUSTERED),
    "retain clusters": (50, 15, 18, 8, STEP, "K-means, K chosen\nwithout labels; fixed"),
    "forget loss": (77, 42, 25, 13, STEP, FORGET_LOSS),
    "retain loss": (
        77,
        15,
        23,
        8,
        STEP,
        "both: stay near the teacher's\nembedding and own centroid",
    ),
    "student": (77, 27, 15, 8, MODEL, "student (starts\nas the teacher)"),
    "report": (93, 27, 11, 12, REPORT, "report:\nUES, attacks,\ngap to the\noracle"),
    "oracle": (93, 4, 11, 7, MODEL, "oracle\n(retrained)"),
}
# from, to, the sides they leave and enter
ARROWS = (
    ("forget", "teacher", "right", "left"),
    ("retain", "teacher", "right", "left"),
    ("teacher", "forget clusters", "top", "left"),
    ("teacher", "retain clusters", "bottom", "left"),
    ("forget clusters", "forget loss", "right", "left"),
    ("retain clusters", "retain loss", "right", "left"),
    ("forget loss", "student", "bottom", "top"),
    ("retain loss", "student", "top", "bottom"),
    ("student", "report", "right", "left"),
    ("retain", "oracle", "bottom", "left"),
    ("oracle", "report", "top", "bottom"),
)


@style.in_style
def draw_framework() -> Figure:
    """From a request to a report: what is given, what is trained, what is evaluated."""
    figure = style.StudyFigure(figsize=(style.PAGE, style.PAGE * 0.5))
    ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    ax.set(xlim=(0, 100), ylim=(0, 50), xticks=[], yticks=[])
    ax.set_axis_off()
    for x, y, width, height, colour, text in BOXES.values():
        corner = (x - width / 2, y - height / 2)
        box = FancyBboxPatch(
            corner, width, height, boxstyle="round,pad=0,rounding_size=1.2", facecolor=colour,
            edgecolor="0.3", lw=0.8,
        )  # fmt: skip
        ax.add_patch(box)
        ax.text(x, y, text, ha="center", va="center", fontsize=7, linespacing=1.25)
    for start, end, leaves, enters in ARROWS:
        _arrow(ax, _side(start, leaves), _side(end, enters), leaves, enters)
    # The forget centroids are computed again from the student's embeddings.
    renewed = _side("student", "left"), _side("forget clusters", "bottom")
    _arrow(ax, *renewed, "left", "bottom", "--")
    ax.text(58, 28.2, "student's embeddings", ha="center", fontsize=6.5, color="0.25")
    _arrow(ax, (35.5, 24.8), (69.5, 24.8), "right", "left", ":")
    ax.text(50, 22.6, "starting weights", ha="center", fontsize=6.5, color="0.25")
    return figure


def _side(name: str, side: str) -> tuple[float, float]:
    x, y, width, height, *_ = BOXES[name]
    across = {"left": -width / 2, "right": width / 2}.get(side, 0)
    along = {"bottom": -height / 2, "top": height / 2}.get(side, 0)
    return x + across, y + along


def _arrow(
    ax: Axes, start: tuple[float, float], end: tuple[float, float], leaves: str, enters: str,
    look: str = "-",
) -> None:  # fmt: skip
    """A straight arrow, or one with a right angle if one end is a side and the other is not."""
    degrees = {"right": 0, "left": 180, "top": 90, "bottom": -90}
    turn = (leaves in ("left", "right")) != (enters in ("left", "right"))
    bend = f"angle,angleA={degrees[leaves]},angleB={degrees[enters]},rad=4" if turn else "arc3"
    ax.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=8, color="0.3", lw=0.9, linestyle=look,
            connectionstyle=bend, shrinkA=0, shrinkB=0,
        )
    )  # fmt: skip
