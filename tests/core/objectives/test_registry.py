"""CURE's ablations, and methods by name."""

import itertools
import math

import numpy as np
import pytest
import torch
from circle import on_circle

from cure_core.objectives import build
from cure_core.objectives.pseudo_labels import LABELLERS
from cure_core.objectives.target_maps import TARGET_MAPS
from cure_core.unlearning import CureConfig, unlearn

# Where a cluster is sent.


def test_nearest_and_farthest_on_a_circle():
    points = on_circle(0, 30, 100, 190)
    assert TARGET_MAPS["nearest"](points, 0).tolist() == [1, 0, 1, 2]
    assert TARGET_MAPS["farthest"](points, 0).tolist() == [3, 3, 0, 0]


@pytest.mark.parametrize("name", TARGET_MAPS)
@pytest.mark.parametrize("count", [2, 3, 7])
def test_no_cluster_is_sent_to_itself(name, count):
    generator = torch.Generator().manual_seed(count)
    points = torch.randn(count, 4, generator=generator)
    targets = TARGET_MAPS[name](points, 5)
    assert targets.dtype == torch.int64
    assert not (targets == torch.arange(count)).any()
    assert torch.equal(targets, TARGET_MAPS[name](points, 5))


def test_the_random_map_sends_anywhere_and_forgets_where_the_clusters_are():
    drawn = [TARGET_MAPS["random"](torch.randn(4, 3), seed) for seed in range(60)]
    assert all(len({int(t[k]) for t in drawn}) == 3 for k in range(4))
    assert torch.equal(TARGET_MAPS["random"](torch.randn(4, 3), 7), drawn[7])


def test_one_to_one_is_the_best_of_all_permutations_without_a_fixed_point():
    points = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    distances = torch.cdist(points, points)
    deranged = [
        order
        for order in itertools.permutations(range(6))
        if all(i != j for i, j in enumerate(order))
    ]
    best = max(deranged, key=lambda order: sum(distances[i, j] for i, j in enumerate(order)))
    assert TARGET_MAPS["one_to_one"](points, 0).tolist() == list(best)
    assert len(set(TARGET_MAPS["farthest"](points, 0).tolist())) < 6  # or nothing was shown


# What clusters.

GROUPS = on_circle(-3, -1, 1, 3, 88, 90, 91, 92, 198, 200, 201, 203)


@pytest.mark.parametrize("labeller", LABELLERS)
def test_every_labeller_finds_three_groups(labeller):
    centroids, labels = LABELLERS[labeller](GROUPS, 3, 0)
    assert labels.dtype == torch.int64
    assert centroids.dtype == torch.float64
    groups = labels.reshape(3, 4)
    assert (groups == groups[:, :1]).all()
    assert sorted(groups[:, 0].tolist()) == [0, 1, 2]
    cosine = torch.cosine_similarity(centroids[groups[:, 0]], on_circle(0, 90.25, 200.5))
    assert cosine.min() > math.cos(math.radians(1))
    again = LABELLERS[labeller](GROUPS, 3, 0)
    assert torch.equal(again[0], centroids)
    assert torch.equal(again[1], labels)


def test_noise_joins_the_nearest_cluster_and_does_not_move_it():
    with_noise = torch.cat([GROUPS, 5 * on_circle(90)])
    centroids, labels = LABELLERS["hdbscan"](with_noise, 2, 0)
    assert labels[-1] == labels[4]  # the group at 90
    torch.testing.assert_close(centroids[labels[4]], GROUPS[4:8].mean(0))


def test_hdbscan_without_two_clusters_is_refused():
    with pytest.raises(ValueError, match="finds 0 clusters in 3 samples"):
        LABELLERS["hdbscan"](on_circle(0, 120, 240), 2, 0)


@pytest.mark.parametrize("method", ["cure", "cure_plus"])
@pytest.mark.parametrize("setting", ["labeller", "target_map"])
def test_an_unknown_setting_is_named_at_once(method, setting):
    with pytest.raises(ValueError, match=f"{setting}='magic'; there are "):
        build(method, **{setting: "magic"})(CureConfig())


# Methods by name.

CONFIG = CureConfig(clusters=(3, 4), epochs=2, batch_size=(8, 8), learning_rate=1e-3)


def test_a_checkpoint_of_other_settings_is_refused(draw_faces, tiny_encoder, tmp_path):
    images, config = draw_faces(7, 4)[0], CureConfig(clusters=(3, 4), epochs=1)

    def run(**settings):
        objective = build("scrub", **settings)
        path = tmp_path / "run.pt"
        unlearn(
            tiny_encoder(), images[:12], images[12:], config, objective=objective, checkpoint=path
        )

    run(ascent=0.3)
    with pytest.raises(ValueError, match=r"objective: 'Scrub\(ascent=0.3\)' there, 'Scrub' now"):
        run()


def test_settings_are_described_by_what_is_not_a_default():
    described = [
        build(name, **settings)(CONFIG).described()
        for name, settings in (
            ("cure", {}),
            ("cure", {"target_map": "farthest"}),
            ("cure", {"target_map": "one_to_one"}),
            ("ssd", {"alpha": 3.0, "lambda_": 1.0}),
        )
    ]
    assert described == ["Cure", "Cure", "Cure(target_map='one_to_one')", "Ssd(alpha=3.0)"]
    first, same, other = (
        build("supervised_scrub", forget_labels=labels, retain_labels=[1])(CONFIG).described()
        for labels in ([1, 2], np.array([1, 2]), [2, 1])
    )
    assert first == same != other


def test_an_unknown_method_is_named_with_those_there_are():
    with pytest.raises(
        ValueError, match=r"no method 'curé' .*'cure'\?\); there are cure, cure_plus, "
    ):
        build("curé")


def test_a_setting_that_a_method_lacks_and_labels_that_it_misses_are_named():
    with pytest.raises(ValueError, match="scrub has no setting descent; it has ascent"):
        build("scrub", descent=0.1)
    with pytest.raises(ValueError, match="dispersion has no setting ascent; it has none"):
        build("dispersion", ascent=0.1)
    with pytest.raises(ValueError, match="supervised_scrub needs forget_labels and retain_labels"):
        build("supervised_scrub")
