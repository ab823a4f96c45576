"""The methods by the names that the tables and figures use. Imports nothing, least of all torch."""

OURS = ("cure", "cure_plus", "cure_scatter")
PEERS = (
    *("neg_grad", "neg_grad_plus", "scrub", "bad_teacher", "random_relabel", "ssd", "laf"),
    *("dispersion", "fine_tune"),
)  # label-free
SUPERVISED = ("supervised_scrub", "supervised_neg_grad_plus")
BASELINES = ("oracle", "teacher")  # of every request
SECOND_ORACLE = "oracle_again"  # another training of the oracle: how much two of them differ
UNTUNED = (*BASELINES, SECOND_ORACLE)


def kind(method: str) -> str:
    """What a method of the tables is: "ours", "peer", "reference" or "ablation"."""
    if method in OURS:
        return "ours"
    if method in UNTUNED or method.startswith("supervised_"):
        return "reference"
    return "ablation" if method not in PEERS and base_method(method) else "peer"


def base_method(variant: str) -> str | None:
    """The method that a variant modifies: the longest name that, with "_", begins the variant's."""
    bases = [m for m in (*OURS, *PEERS, *SUPERVISED) if variant.startswith(f"{m}_")]
    return max(bases, key=len, default=None)
