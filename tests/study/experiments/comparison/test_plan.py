"""The plan, the names of methods, and that reading tables loads no training."""

import subprocess
import sys

import pytest
import yaml

from cure_core.config import CureConfig
from cure_core.objectives import METHODS, build
from cure_study.experiments.comparison.methods import (
    BLENDING,
    OURS,
    PEERS,
    SUPERVISED,
    base_method,
    kind,
)
from cure_study.experiments.comparison.plan import Plan, read_plan, split_settings

LIGHT = """
import sys
from cure_study.experiments.comparison import claims, methods, plan, store, tables
heavy = ("cure_core.unlearning", "cure_core.training", "cure_core.objectives", "cure_study.runner")
print([name for name in sys.modules if name.startswith(heavy)])
"""


def test_reading_the_tables_imports_no_training():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_every_method_has_its_name_in_the_tables():
    assert {*OURS, *PEERS, *BLENDING, *SUPERVISED} == set(METHODS)


def test_kinds():
    kinds = {
        "cure": "ours", "cure_plus": "ours", "cure_plus_frozen": "ablation", "scrub": "peer",
        "cure_hdbscan": "ablation", "supervised_scrub": "reference", "oracle": "reference",
        "blend": "blending", "teacher": "reference", "oracle_again": "reference",
        "a_new_method": "peer",
    }  # fmt: skip
    assert {name: kind(name) for name in kinds} == kinds
    bases = {
        "cure_tau_2": "cure",
        "cure_plus_frozen": "cure_plus",
        "neg_grad_plus_x": "neg_grad_plus",
    }
    assert {name: base_method(name) for name in bases} == bases
    assert base_method("supervised_x") is None
    assert {kind(name) for name in bases} == {"ablation"}


def test_the_committed_plan_has_every_method():
    plan = read_plan()
    assert set(plan.methods) == {*PEERS, *OURS, *BLENDING}
    assert set(plan.references) == set(SUPERVISED)
    assert set(plan.data) == {"synthfaces", "lfw"}
    assert [len(part.seeds) for part in plan.data.values()] == [5, 5]


def test_the_search_starts_from_each_methods_defaults():
    for name, method in read_plan().tuned.items():
        config, options = split_settings(method.defaults())
        weights = config.pop("weights", {})
        labels = {"forget_labels": [0], "retain_labels": [0]} if name in SUPERVISED else {}
        objective = build(name, **labels)(CureConfig())
        assert weights == {k: v for k, v in objective.weights.items() if k in weights}
        assert objective.filled_in(CureConfig(**config)) == objective.config
        assert all(getattr(objective, k) == v for k, v in options.items())


HDBSCAN = {"of": "cure", "labeler": "hdbscan"}
KMEAN = {"of": "cure", "labeller": "kmean"}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("methods/laff", {"search": {}}, "no method 'laff'"),
        ("requests", ["everyone"], "no request everyone"),
        ("attacked", ["cura"], "attacked cura; there are cure, scrub"),
        ("data/synthfaces/seeds", [100, 1], r"seeds \[100\] are both"),
        ("data/synthfaces/few_seeds", [101], r"seeds \[101\] are both"),
        ("data/synthfaces/few_seeds", [7], r"few_seeds \[7\] are not among seeds \[0, 1\]"),
        ("data/synthfaces/validation/finals", [100], "name a seed twice"),
        ("data/synthfaces/validation/finals", [], "2 finalists and finals"),
        ("data/synthfaces/validation/finalists", 1, "1 finalists and finals"),
        ("data/synthfaces/teacher", {"epoch": 3}, "epoch"),
        ("data/synthfaces/trials", 0, "trials"),
        ("data/synthfaces/unlearning", {"learning_rate": 1}, "unlearning sets learning_rate, by"),
        ("data/synthfaces/after", "casia", "after 'casia'; the data are synthfaces"),
        ("methods/cure/search/learning_rate", [1e-3, 5e-4, 3e-3], "no .low, default, high. above"),
        ("methods/cure/strength", "temperature", "strength 'temperature'"),
        ("methods/cure/only", "casia", "cure is `only` for 'casia'"),
        ("methods/scrub/search", {"weights.cosin": [1, 2, 3]}, "scrub: no weight cosin; there are"),
        ("methods/scrub/search", {"ascent": [1, 3, 5]}, "scrub: ascent=3; it is a number from 0"),
        ("variants/cure_no_cosine/of", "cura", "is `of` 'cura'"),
        ("variants/cure_no_cosine/of", "scrub", "name that begins with scrub_"),
        ("variants/cure_plus_cosine", {"of": "cure"}, "begins with cure_ and with no longer"),
        ("variants/scrub", {"of": "cure"}, "has the name of a method"),
        ("variants/cure_no_cosine/only", "casia", "is `only` for 'casia'; the data are synth"),
        ("variants/cure_no_cosine", HDBSCAN, "cure_no_cosine: .*labeler"),
        ("variants/cure_no_cosine", KMEAN, "labeller='kmean'; did you mean 'kmeans'"),
        ("repeats", {"again": {"of": "casia", "options": {"seed": 2}}}, "again is `of` 'casia'"),
        ("repeats", {"synthfaces": {"of": "synthfaces", "options": {"a": 2}}}, "name of its own"),
        ("repeats", {"again": {"of": "synthfaces", "options": {}}}, "has the faces of synthfaces"),
    ],
)
def test_a_wrong_plan_is_refused_by_name(tmp_path, change, path, value, message):
    file = tmp_path / "plan.yaml"
    file.write_text(yaml.safe_dump(change(path, value)))
    with pytest.raises(ValueError, match=message) as error:
        read_plan(file)
    assert str(file) in str(error.value)


def test_settings_are_split_between_config_and_objective():
    settings = {"learning_rate": 1, "weights.cosine": 2, "ascent": 0.3}
    assert split_settings(settings) == (
        {"learning_rate": 1, "weights": {"cosine": 2}},
        {"ascent": 0.3},
    )


def test_a_variant_for_another_data_set_does_not_run(plan, change):
    plan = Plan(**change("data/lfw", change("factors", [])["data"]["synthfaces"]))
    only = {**plan.variants, "cure_frozen": {"of": "cure", "batchnorm": "frozen", "only": "lfw"}}
    plan = plan.model_copy(update={"variants": only})
    assert set(plan.methods_on("lfw")) - set(plan.methods_on("synthfaces")) == {"cure_frozen"}
    limited = plan.methods["cure"].model_copy(update={"only": "synthfaces"})
    plan = plan.model_copy(update={"methods": {**plan.methods, "cure": limited}})
    missing = set(plan.methods_on("synthfaces")) - set(plan.methods_on("lfw"))
    assert missing == {"cure", "cure_no_cosine"}  # and its variant
    assert plan.changed("cure_frozen", {"tau": 1}) == {"tau": 1, "batchnorm": "frozen"}
