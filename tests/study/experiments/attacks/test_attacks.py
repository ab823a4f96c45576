"""With encoders that read the person and image number from the pixels, every leak is known."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cure_core.encoders.embedding import embed
from cure_core.metrics.pairs import similarities
from cure_core.metrics.verification import ten_fold_accuracy
from cure_study.data.faceset import FaceSet
from cure_study.data.requests import ForgetRequest
from cure_study.data.splits import split_people
from cure_study.evaluation.protocol import make_protocol
from cure_study.evaluation.space import Space, attacked_images, rows_of, view_table
from cure_study.experiments.attacks.embedding_attacks import (
    detectability,
    matching,
    membership,
    movement,
)
from cure_study.experiments.attacks.recovery import few_shot, relearning
from cure_study.experiments.attacks.run import attack_all, check_numbers
from cure_study.experiments.attacks.shadow_models import Shadow, random_halves

PEOPLE, EACH, DIM = 40, 11, 48


def painted():
    """Red is the person, green the number among theirs, blue the column, by which views differ."""
    identities = np.repeat(np.arange(PEOPLE), EACH)
    images = np.empty((len(identities), 112, 112, 3), dtype=np.uint8)
    images[..., 0] = identities[:, None, None]
    images[..., 1] = np.tile(np.arange(EACH), PEOPLE)[:, None, None]
    images[..., 2] = np.arange(112)
    return FaceSet("painted", images, identities, "0")


class Stub(nn.Module):
    """Embeds the image `number` of `person` as `vector(person, number)`, its views near by.

    The mirrored and the shifted view differ from it by noise of length `shake(person)`.
    """

    def __init__(self, vector, shake=lambda person: 0.3):
        super().__init__()
        table = [[vector(p, i) for i in range(EACH)] for p in range(PEOPLE)]
        noises = [[shake(p) * noise(p, i, 1000) for i in range(EACH)] for p in range(PEOPLE)]
        plain, noises = np.array(table), np.array(noises)
        views = np.stack([plain, plain + noises, plain - noises])
        self.register_buffer("table", torch.as_tensor(views, dtype=torch.float32))

    def forward(self, images):
        person, number, column = images[:, :, 56, 56].long().T
        return self.table[(56 - column) % 3, person, number]  # 56, mirrored 55, shifted 52


FACES = painted()
SPLIT = split_people(FACES.identities, min_images=EACH, outsiders=14, heldout=0.25, seed=1)
REQUEST = ForgetRequest.random_people(FACES, SPLIT.train, 10, seed=3)
PROTOCOL = make_protocol(FACES, SPLIT, REQUEST, n_pairs=100, seed=4)
GONE = set(FACES.identities[REQUEST.forget_index].tolist())
STAY = set(FACES.identities[REQUEST.retain_index].tolist())
TRAINED = GONE | STAY


def noise(person, number, seed=0):
    return np.random.default_rng([person, number, seed]).normal(size=DIM)


def encoder(blur=1.0, seed=0, sharp=(), sharpness=0.3):
    """A person's direction under noise of `blur` times its length; less for the `sharp`."""

    def vector(person, number):
        scale = sharpness if person in sharp else blur
        return noise(person, 99, seed) + scale * noise(person, number, seed)

    return vector


def space(*stub):
    return Space(PROTOCOL, Stub(*stub), progress=False)


def found(rows):
    """Rows by (attack, metric); the first `at` where there are several."""
    return {(row["attack"], row["metric"]): row for row in reversed(rows)}


TEACHER = space(encoder())

# Membership


def test_sharpened_members_leak_and_the_forgotten_with_them():
    """Tighter around their person, longer, and steadier: every attack finds its own sign."""

    def longer(person, number):
        return encoder(sharp=TRAINED)(person, number) * (2 if person in TRAINED else 1)

    leak = space(longer, lambda person: 0.1 if person in TRAINED else 0.5)
    rows = found(membership(leak, n_bootstrap=40))
    for attack in ("norm", "views", "compactness", "nearest_centroid"):
        assert rows[attack, "auc"]["value"] > 0.95
        assert rows[attack, "auc"]["low"] > 0.8
        assert rows[attack, "recall"]["value"] > 0.85
        assert rows[attack, "tpr_at_1pct_fpr"]["value"] > 0.5


def test_forgotten_people_left_as_strangers_are_not_recalled():
    rows = found(membership(space(encoder(sharp=STAY)), n_bootstrap=0))
    assert rows["compactness", "auc"]["value"] > 0.95
    assert rows["compactness", "recall"]["value"] < 0.1
    assert rows["nearest_centroid", "recall"]["value"] < 0.2


def test_an_encoder_that_treats_all_alike_leaks_nothing():
    """Encoders drawn apart from the split: one interval of eight may miss 1/2, at most."""
    aucs = [
        row
        for seed in (5, 6)
        for row in membership(space(encoder(seed=seed)), n_bootstrap=60)
        if row["metric"] == "auc"
    ]
    assert len(aucs) == 8
    assert sum(row["low"] <= 0.5 <= row["high"] for row in aucs) >= 7
    assert np.mean([row["value"] for row in aucs]) == pytest.approx(0.5, abs=0.1)


def shadows(sharp):
    """Four shadows of PEOPLE; with `sharp`, training sharpens the people inside."""
    index = attacked_images(PROTOCOL)
    scores = []
    for s, half in enumerate(random_halves(PEOPLE, 4)):
        trained = set(np.flatnonzero(half))
        vector = encoder(seed=20 + s, sharp=trained if sharp else (), sharpness=0.8)
        table = view_table(PROTOCOL, Stub(vector), progress=False)
        scores.append((table, half[FACES.identities[index]]))
    return scores


def test_the_likelihood_ratio_finds_a_leak_and_none_where_there_is_none():
    target = space(encoder(sharp=TRAINED, sharpness=0.8, seed=9))
    rows = found(membership(target, shadows(sharp=True), n_bootstrap=40))
    assert rows["likelihood_ratio", "auc"]["low"] > 0.5
    blank = space(encoder(seed=9))
    rows = found(membership(blank, shadows(sharp=False), n_bootstrap=40))
    auc = rows["likelihood_ratio", "auc"]
    assert auc["low"] <= 0.5 <= auc["high"]


# Matching, and recovery


def turned(person, number):
    """The teacher in another orthonormal basis: reversed, every second axis mirrored."""
    return encoder()(person, number)[::-1] * np.resize([1, -1], DIM)


def test_a_student_that_is_the_teacher_is_matched_by_any_way():
    rows = found(matching(TEACHER, TEACHER, n_bootstrap=20))
    for attack in ("as_it_is", "rotation", "linear_map"):
        for metric in ("rank1_old_gallery", "rank1_old_probe", "accuracy", "accuracy_across"):
            assert rows[attack, metric]["value"] > 0.95, (attack, metric)
        assert rows[attack, "tar"]["low"] <= rows[attack, "tar"]["value"]


def test_a_turned_teacher_matches_only_after_a_rotation():
    rows = found(matching(space(turned), TEACHER, n_bootstrap=0))
    for metric in ("rank1_old_gallery", "rank1_old_probe"):
        assert rows["as_it_is", metric]["value"] < 0.2
        assert rows["rotation", metric]["value"] > 0.95
    assert rows["as_it_is", "accuracy"]["value"] == rows["rotation", "accuracy"]["value"] > 0.95
    assert rows["rotation", "accuracy_across"]["value"] > 0.95
    assert rows["as_it_is", "accuracy_across"]["value"] < 0.7


def test_an_encoder_apart_from_the_teacher_is_matched_by_no_rotation():
    """Ten forgotten people among 26: chance is 1/26."""
    rows = found(matching(space(encoder(seed=7)), TEACHER, n_bootstrap=0))
    assert rows["rotation", "rank1_old_gallery"]["value"] < 0.25
    assert rows["linear_map", "rank1_old_gallery"]["value"] < 0.25
    assert rows["rotation", "accuracy"]["value"] > 0.95  # yet it recognises them itself


def test_few_shots_by_model():
    erased = space(lambda p, i: noise(p, i) if p in GONE else encoder()(p, i))
    learnt = set(PROTOCOL.forget.tolist())

    def scattered(person, number):  # forgets the given images, but not the person
        vector = noise if person * EACH + number in learnt else encoder()
        return vector(person, number)

    known, gone, hollow = (
        {(row["attack"], row["at"]): row["value"] for row in few_shot(one, (1, 5))}
        for one in (TEACHER, erased, space(scattered))
    )
    assert set(known) == {("few_shot", 1), ("few_shot", 5), ("few_shot_fresh", 1)}
    assert known["few_shot", 5] > 0.95
    assert gone["few_shot", 5] < 0.25
    assert gone["few_shot_fresh", 1] < 0.25
    assert hollow["few_shot", 5] < 0.25
    assert hollow["few_shot_fresh", 1] == pytest.approx(known["few_shot_fresh", 1], abs=0.05)
    assert known["few_shot_fresh", 1] > 0.5


# Over-forgetting, and collateral


def test_over_forgotten_people_differ_from_strangers():
    """All pushed to one place: closer to each other and to nobody, with long embeddings."""
    pushed = space(lambda p, i: 3 * noise(77, 0) + noise(p, i) if p in GONE else encoder()(p, i))
    rows = found(detectability(pushed, n_bootstrap=20))
    assert rows["oddness", "auc"]["low"] > 0.8
    assert rows["told_apart", "auc"]["value"] > 0.95
    assert rows["told_apart", "auc"]["low"] > 0.7  # of ten people and fourteen


def test_people_treated_as_strangers_do_not_differ():
    rows = [detectability(space(encoder(seed=s)), n_bootstrap=0) for s in range(5)]
    for attack in ("oddness", "told_apart"):
        values = [found(row)[attack, "auc"]["value"] for row in rows]
        assert np.mean(values) == pytest.approx(0.5, abs=0.15)


def test_only_people_who_moved_moved():
    """A rotation of all is no movement; one retained person sent elsewhere is."""
    sent = min(STAY)
    table = movement(
        space(lambda p, i: noise(50, i) if p == sent else turned(p, i)),
        TEACHER,
    ).set_index("person")
    assert set(table.index) == {p for p in STAY if p in set(FACES.identities[SPLIT.heldout])}
    assert table.movement[sent] > 0.6
    assert table.movement.drop(sent).max() < 0.15
    assert movement(TEACHER, TEACHER).movement.abs().max() < 1e-4


# The whole


@pytest.fixture(scope="module")
def drawn_protocol(draw_faces):
    images, identities = draw_faces(people=14, each=9)
    faces = FaceSet("painted", images, identities, "0")
    split = split_people(identities, min_images=9, outsiders=4, heldout=0.3, seed=0)
    request = ForgetRequest.random_people(faces, split.train, 4, seed=0)
    return make_protocol(faces, split, request, n_pairs=60)


def test_relearning_is_evaluated_on_other_images(drawn_protocol, tiny_encoder):
    """The pairs that touch no shown image, scored by hand, give the value before any step."""
    p, model = drawn_protocol, tiny_encoder()
    rows = relearning(p, model, 1, epochs=2)
    assert [row["at"] for row in rows] == [0, 1, 2]
    assert {row["attack"] for row in rows} == {"relearning_1"}
    shown = [p.forget[p.faces.identities[p.forget] == g][0] for g in forgotten(p)]
    assert len(shown) == 4
    pairs = p.pairs["forget"]
    fresh = ~np.isin(pairs.left, shown) & ~np.isin(pairs.right, shown)
    score = similarities(embed(model, p.faces.images), pairs)[fresh]
    expected = ten_fold_accuracy(score, pairs.genuine[fresh], p.folds["forget"][fresh])
    assert rows[0]["value"] == pytest.approx(expected)


class Muted(nn.Module):
    """A hash of the image; one gain mutes the person's features almost, but not completely."""

    def __init__(self, person: bool):
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.person, self.gain = person, nn.Parameter(torch.tensor(1e-3))
        self.features, self.hash = (torch.randn(147, 16, generator=random) for _ in range(2))

    def forward(self, images):
        coarse = (F.avg_pool2d(images.float(), 16).flatten(1) - 127.5) / 40
        noise = torch.sin(300 * coarse @ self.hash)
        person = coarse @ self.features
        person = person if self.person else torch.sin(300 * person)
        return noise + 30 * self.gain * person


def test_relearning_finds_what_was_muted_and_nothing_where_nothing_is(drawn_protocol):
    for person, low, high in ((True, 0.95, 1.0), (False, 0.3, 0.7)):
        values = [row["value"] for row in relearning(drawn_protocol, Muted(person), 3, epochs=1)]
        assert 0.3 < values[0] < 0.7
        assert low <= values[1] <= high


def forgotten(protocol):
    return np.unique(protocol.faces.identities[protocol.forget])


def test_every_attack_on_every_model(drawn_protocol, tiny_encoder):
    halves = random_halves(14, 4)
    models = dict(zip(("before", "after", "oracle"), map(tiny_encoder, (0, 1, 2)), strict=True))
    result = attack_all(
        drawn_protocol,
        **models,
        shadows=[Shadow(tiny_encoder(3 + s), np.flatnonzero(h)) for s, h in enumerate(halves)],
        shots=(1, 2),
        relearn_images=(1,),
        relearn_epochs=1,
        n_bootstrap=10,
        progress=False,
    )
    rows = result.rows
    assert list(rows) == ["model", "set", "attack", "metric", "at", "value", "low", "high"]
    assert not rows.duplicated(["model", "attack", "metric", "at"]).any()
    assert rows.value.notna().all()
    counts = rows.groupby("model").size()
    assert counts["after"] == counts["oracle"] == counts["before"] + 1  # no collateral before
    assert set(result.people.model) == {"after", "oracle"}
    assert rows[rows.metric == "auc"].low.notna().all()
    same = attack_all(
        drawn_protocol,
        before=models["before"],
        after=models["before"],
        shots=(1,),
        relearn_images=(),
        n_bootstrap=0,
        progress=False,
    ).rows
    before, after = (
        same[(same.model == m) & (same.attack != "collateral")] for m in ("before", "after")
    )
    assert before.value.tolist() == after.value.tolist()


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"shots": [1, EACH]}, r"shots=\[11\]; the most forget images"),
        ({"relearn_images": [EACH]}, "relearn_images=11 leaves no genuine"),
        ({"relearn_images": [0]}, "relearn_images=0"),
        ({"shadows": 2}, "shadows=2; 0 for none, or an even number, four at least"),
        ({"shadows": 5}, "shadows=5"),
    ],
)
def test_numbers_that_no_attack_can_use_are_refused(numbers, message):
    check_numbers(PROTOCOL, shots=[1, 2], relearn_images=[1, 3], shadows=4)
    with pytest.raises(ValueError, match=message):
        check_numbers(PROTOCOL, **numbers)


def test_a_model_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        space(lambda p, i: noise(p, i) * (np.nan if p in GONE else 1))


def test_an_image_that_was_not_embedded_is_an_error():
    """Not another image's row, be the number between, below or above those that are there."""
    embedded = np.array([2, 5, 9])
    assert rows_of(embedded, np.array([9, 2, 2])).tolist() == [2, 0, 0]
    for unknown in (3, 0, 10):
        with pytest.raises(KeyError, match=f"image {unknown}"):
            rows_of(embedded, np.array([5, unknown]))
