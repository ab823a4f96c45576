"""The methods by the names that the tables and figures use. Imports nothing, least of all torch."""

from collections.abc import Iterable

OURS = ("cure", "cure_plus", "cure_scatter")
PEERS = (
    *("neg_grad", "neg_grad_plus", "scrub", "bad_teacher", "random_relabel", "ssd", "laf"),
    *("dispersion", "fine_tune"),
)  # label-free
BLENDING = ("blend", "redistil")  # for the other goal: a student that never saw the forgotten
SUPERVISED = ("supervised_scrub", "supervised_neg_grad_plus")
BASELINES = ("oracle", "teacher")  # of every request
SECOND_ORACLE = "oracle_again"  # another training of the oracle: how much two of them differ
UNTUNED = (*BASELINES, SECOND_ORACLE)
LABELS = {
    "cure": "CURE",
    "cure_plus": "CURE+",
    "cure_scatter": "CURE-scatter",
    "random_relabel": "random relabelling",
    "bad_teacher": "Bad Teacher",
    "dispersion": "dispersion",
    "scrub": "SCRUB",
    "neg_grad_plus": "NegGrad+",
    "laf": "LAF",
    "neg_grad": "NegGrad",
    "fine_tune": "fine-tuning",
    "ssd": "SSD",
    "blend": "blend",
    "redistil": "redistillation",
    "supervised_scrub": "SCRUB with labels",
    "supervised_neg_grad_plus": "NegGrad+ with labels",
    "oracle": "oracle",
    "oracle_again": "second oracle",
    "teacher": "teacher",
}  # in text and figures, in the order of every table and figure: peers by UES on SynthFaces


def in_order(methods: Iterable[str]) -> list[str]:
    """The methods in the order of `LABELS`, each once; variants after the method they modify."""
    known = list(LABELS)
    return sorted(set(methods), key=lambda m: (known.index(_labelled(m)), m))


def _labelled(method: str) -> str:
    """The method of `LABELS` that this is, or a variant of."""
    label = method if method in LABELS else base_method(method)
    if label is None:
        raise ValueError(f"no method {method!r}; there are {', '.join(LABELS)} and variants")
    return label


def kind(method: str) -> str:
    """What a method of the tables is: "ours", "peer", "blending", "reference" or "ablation"."""
    if method in OURS:
        return "ours"
    if method in BLENDING:
        return "blending"
    if method in UNTUNED or method.startswith("supervised_"):
        return "reference"
    return "ablation" if method not in PEERS and base_method(method) else "peer"


def competitors(methods: Iterable[str]) -> list[str]:
    """CURE, our variants and the label-free peers, in the order of every table."""
    return [method for method in in_order(methods) if kind(method) in ("ours", "peer")]


def base_method(variant: str) -> str | None:
    """The method that a variant modifies: the longest name that, with "_", begins the variant's."""
    bases = [m for m in (*OURS, *PEERS, *BLENDING, *SUPERVISED) if variant.startswith(f"{m}_")]
    return max(bases, key=len, default=None)
