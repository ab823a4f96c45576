"""With encoders that read the person and image number from the pixels, every answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from cure_core.metrics.pairs import draw_pairs
from cure_study.data.faceset import FaceSet
from cure_study.data.requests import ForgetRequest
from cure_study.data.splits import split_people
from cure_study.evaluation.evaluate import accuracies, evaluate
from cure_study.evaluation.protocol import make_protocol, verification_only
from cure_study.evaluation.space import Space, half_resolution, shifted

PEOPLE, EACH, STRANGERS = 24, 16, 10  # strangers: people of the protocol alone
DIM = 128


def painted(protocols=True):
    """Each image one colour: red is the person, green the number among the person's images."""
    identities = np.repeat(np.arange(PEOPLE + STRANGERS), EACH)
    number = np.tile(np.arange(EACH), PEOPLE + STRANGERS)
    codes = np.stack([identities, number, np.zeros_like(number)], axis=1).astype(np.uint8)
    images = np.broadcast_to(codes[:, None, None], (len(codes), 112, 112, 3))
    unseen = np.arange(PEOPLE * EACH, len(codes))
    drawn = draw_pairs(identities[unseen], 200, seed=9)
    pairs = replace(drawn, left=unseen[drawn.left], right=unseen[drawn.right])
    return FaceSet(
        "painted", images, identities, "0", protocols={"own": pairs} if protocols else {}
    )


class Stub(nn.Module):
    """Embeds the image `number` of `person` as `vector(person, number)`."""

    def __init__(self, vector):
        super().__init__()
        table = [[vector(p, i) for i in range(EACH)] for p in range(PEOPLE + STRANGERS)]
        self.register_buffer("table", torch.as_tensor(np.array(table), dtype=torch.float32))

    def forward(self, images):
        person, number = images[:, 0, 56, 56].long(), images[:, 1, 56, 56].long()
        return self.table[person, number]


def axis(person, _number=0):
    """One axis a person, so that cosines are exactly 0 or 1."""
    return np.eye(DIM)[person]


def noise(person, number):
    return np.random.default_rng([person, number]).normal(size=DIM)


def noisy(person, number):
    """A good encoder, not a perfect one: a person's direction under noise of the same length."""
    return noise(person, 99) + noise(person, number)


FACES = painted()
# The strangers come last, so that indices into the others are indices into all.
SPLIT = split_people(
    FACES.identities[: PEOPLE * EACH], min_images=EACH, outsiders=5, heldout=0.25, seed=1
)


def setting(faces=FACES, forget=6, n_pairs=200):
    request = ForgetRequest.random_people(faces, SPLIT.train, forget, seed=3)
    return request, make_protocol(faces, SPLIT, request, n_pairs=n_pairs, seed=4)


def judged(after, oracle=None, before=axis, protocol=None, n_bootstrap=0):
    protocol = protocol or setting()[1]
    models = {"before": Stub(before), "after": Stub(after)}
    if oracle is not None:
        models["oracle"] = Stub(oracle)
    return evaluate(protocol, **models, n_bootstrap=n_bootstrap, progress=False)


def test_the_accuracies_alone_are_the_same():
    protocol = setting()[1]
    report = judged(noisy, before=noise, protocol=protocol)
    for name, vector in (("before", noise), ("after", noisy)):
        space = Space(verification_only(protocol), Stub(vector))
        assert accuracies(space) == report.accuracies(name)
    assert report.accuracies("after")["forget"] > report.accuracies("before")["forget"]


def ends(pairs):
    return np.concatenate([pairs.left, pairs.right])


def people_of(index):
    return set(FACES.identities[index].tolist())


GONE = people_of(setting()[0].forget_index)
STAY = people_of(setting()[0].retain_index)


def forgets(person, number):
    """Embeds by identity, except the forgotten, who go anywhere."""
    return noise(person, number) if person in GONE else axis(person)


# The protocol


def test_pairs_lie_where_they_should():
    request, protocol = setting()
    forget, retain, test = (ends(protocol.pairs[name]) for name in ("forget", "retain", "test"))
    assert set(forget) <= set(request.forget_index)
    assert set(retain) <= set(SPLIT.heldout)
    assert set(retain).isdisjoint(SPLIT.train)
    assert people_of(retain) <= STAY
    assert GONE.isdisjoint(STAY)
    assert people_of(test).isdisjoint(GONE | STAY | people_of(SPLIT.outsiders))
    for pairs in protocol.pairs.values():
        own = FACES.identities
        assert np.array_equal(own[pairs.left] == own[pairs.right], pairs.genuine)
        assert 2 * np.count_nonzero(pairs.genuine) == len(pairs)


def test_sets_hold_the_right_people():
    request, protocol = setting()
    assert set(protocol.forget) == set(request.forget_index)
    assert set(protocol.members) <= set(request.retain_index)
    assert set(protocol.outsiders) == set(SPLIT.outsiders)
    assert people_of(protocol.outsiders).isdisjoint(GONE | STAY)
    assert set(protocol.probes) == {i for i in SPLIT.heldout if FACES.identities[i] in GONE}
    assert set(protocol.gallery) == set(SPLIT.train)
    assert set(protocol.probes).isdisjoint(protocol.gallery)
    for person in people_of(protocol.members):  # all or none of a person's training images
        own = set(np.flatnonzero(FACES.identities == person)) & set(request.retain_index)
        assert own <= set(protocol.members)


def test_members_are_about_twice_the_outsiders():
    """5 outsiders x 16 images = 80; 160 images of members at 12 a person: 14 people, 13 are there.

    With 2 outsiders, 64 images: 6 people of 12 images are 72, the first whole number above.
    """
    assert len(setting()[1].members) == 13 * 12
    few = split_people(FACES.identities[: PEOPLE * EACH], outsiders=2, heldout=0.25)
    request = ForgetRequest.random_people(FACES, few.train, 6)
    assert len(make_protocol(FACES, few, request, n_pairs=20).members) == 72


def test_protocol_pairs_that_touch_the_split_are_left_out_with_their_folds():
    """A protocol of 40 pairs, four a fold; every second one is of people in training."""
    strangers = PEOPLE * EACH
    left = np.where(np.arange(40) % 4 < 2, strangers, SPLIT.train[0])
    right = np.where(np.arange(40) % 2 == 0, left + 1, strangers + EACH)
    pairs = replace(FACES.protocols["own"], left=left, right=right, genuine=np.arange(40) % 2 == 0)
    protocol = setting(replace(FACES, protocols={"lfw": pairs}))[1]
    assert protocol.pairs["test"].left.tolist() == [strangers] * 20
    assert protocol.folds["test"].tolist() == np.repeat(np.arange(10), 2).tolist()


def test_a_protocol_that_is_all_touched_is_refused():
    left, right = SPLIT.train[:20], np.roll(SPLIT.train, 1)[:20]
    same = FACES.identities[left] == FACES.identities[right]
    pairs = replace(FACES.protocols["own"], left=left, right=right, genuine=same)
    with pytest.raises(ValueError, match=r"painted's protocol .* holds 0 pairs, 0 genuine"):
        setting(replace(FACES, protocols={"own": pairs}))


def test_a_protocol_left_with_one_kind_of_pair_is_refused():
    own = FACES.protocols["own"]
    with pytest.raises(ValueError, match="painted's protocol"):
        setting(replace(FACES, protocols={"own": own.select(own.genuine)}))


def test_a_set_without_a_protocol_tests_on_people_in_no_training():
    _, protocol = setting(painted(protocols=False))
    tested = people_of(ends(protocol.pairs["test"]))
    assert tested.isdisjoint(people_of(SPLIT.train))
    assert tested <= people_of(SPLIT.outsiders) | set(range(PEOPLE, PEOPLE + STRANGERS))
    assert len(protocol.folds["test"]) == len(protocol.pairs["test"])
    report = judged(axis, protocol=protocol)
    assert report.accuracies("after") == {"forget": 1, "retain": 1, "test": 1}


def test_fresh_pairs_are_of_images_outside_the_request():
    request, protocol = setting()
    assert set(ends(protocol.fresh)) <= set(protocol.probes) <= set(SPLIT.heldout)
    assert people_of(ends(protocol.fresh)) <= GONE
    assert set(ends(protocol.fresh)).isdisjoint(request.forget_index)
    own = FACES.identities
    genuine = own[protocol.fresh.left] == own[protocol.fresh.right]
    assert np.array_equal(genuine, protocol.fresh.genuine)
    assert 2 * np.count_nonzero(genuine) == len(protocol.fresh) >= 20


def test_forgetting_the_given_images_alone_leaves_the_new_ones_known():
    """A student that has learnt images by heart, and one that has forgotten the person."""
    request, protocol = setting()

    learnt = set(request.forget_index.tolist())

    def by_heart(person, number):
        return noise(person, number) if person * EACH + number in learnt else axis(person)

    for student, fresh in ((by_heart, 1), (forgets, 0.5)):
        report = judged(student, protocol=protocol)
        assert report.value("accuracy", "forget") == pytest.approx(0.5, abs=0.15)
        assert report.value("accuracy_fresh") == pytest.approx(fresh, abs=0.15)


def test_few_new_images_are_no_measure():
    people = FACES.identities[: PEOPLE * EACH]
    split = split_people(people, min_images=EACH, outsiders=5, heldout=0.125, seed=1)
    request = ForgetRequest.random_people(FACES, split.train, 6, seed=3)  # two each, six pairs
    protocol = make_protocol(FACES, split, request, n_pairs=200, seed=4)
    assert len(protocol.probes) == 12
    assert protocol.fresh is None
    report = judged(axis, protocol=protocol)
    assert "accuracy_fresh" not in set(report.rows.metric)


def test_the_protocol_is_drawn_once():
    first, again = setting()[1], setting()[1]
    other = make_protocol(FACES, SPLIT, setting()[0], n_pairs=200, seed=5)
    for name in ("forget", "members", "outsiders", "probes", "gallery"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    for name, pairs in first.pairs.items():
        assert np.array_equal(pairs.left, again.pairs[name].left)
        assert np.array_equal(pairs.right, again.pairs[name].right)
    assert not np.array_equal(first.pairs["forget"].left, other.pairs["forget"].left)


def test_one_forgotten_person_has_no_impostor_pair():
    with pytest.raises(ValueError, match="both kinds are needed"):
        setting(forget=1)


# Evaluation


def test_an_untouched_model_scores_exactly_zero_by_every_measure():
    report = judged(noise, before=noisy, oracle=noisy, n_bootstrap=5)
    measured = report.rows[report.rows.set != "all"]
    rows = measured.set_index(["set", "metric"]).drop(columns="model")
    before, oracle = (rows[(measured.model == m).to_numpy()] for m in ("before", "oracle"))
    np.testing.assert_array_equal(before.to_numpy(), oracle.to_numpy())
    assert before.index.equals(oracle.index)
    assert report.ues("oracle").score == 0
    assert report.ues("oracle").stability == 1
    derived = report.tidy().query("set == 'all' and model == 'oracle'").set_index("metric")
    assert derived.loc["ues", ["value", "low", "high"]].tolist() == [0, 0, 0]
    assert derived.loc["stability", ["value", "low", "high"]].tolist() == [1, 1, 1]


def test_forgetting_alone_scores_near_one():
    """Nothing but forgotten people moves, so S is exactly 1, and F is near 1.

    400 pairs at chance: an accuracy of 1/2 with deviation 0.025, hence F with 0.05.
    """
    report = judged(forgets)
    ues = report.ues()
    assert ues.stability == 1
    assert ues.forgetting > 0.8
    assert ues.score == ues.forgetting
    assert report.value("tar") < 0.1
    assert report.value("tar", "retain") == report.value("tar", "test") == 1
    assert report.value("eer") > 0.35
    assert report.value("tar_cross", "forget", "before") == 1


@pytest.mark.parametrize(
    "collapsed",
    [lambda p, i: axis(0) + 1e-3 * noise(p, i), noise, lambda p, i: axis(0)],
    ids=["constant with an epsilon", "random", "constant"],
)
def test_a_broken_student_scores_nothing(collapsed):
    """It forgot everything, and everyone else too: each kept set loses its share above chance."""
    ues = judged(collapsed).ues()
    assert ues.forgetting > 0.8
    assert ues.stability < 0.05
    assert ues.score < 0.05


def test_a_push_that_keeps_people_apart_is_no_forgetting():
    """All forgotten people point nearly one way: a fixed threshold falls for it, ours does not."""
    report = judged(lambda p, i: axis(100) + 0.1 * axis(p) if p in GONE else axis(p))
    assert report.value("accuracy_fixed") == 0.5
    assert report.value("accuracy") == 1
    assert report.ues().score == 0


def test_old_and_new_gallery_by_hand():
    """Two of six people move to axes nobody had, two swap places, two stay.

    Templates of the teacher find only those who stayed: 2 of 6. Re-enrolled, all are found. Each
    has four probes, so shares of people are shares of probes.
    """
    gone = sorted(GONE)
    place = {gone[0]: 100, gone[1]: 101, gone[2]: gone[3], gone[3]: gone[2]}
    report = judged(lambda p, i: axis(place.get(p, p)))
    assert report.value("rank1_old_gallery") == pytest.approx(2 / 6)
    assert report.value("rank1_new_gallery") == 1
    assert report.value("rank1_old_gallery", model="before") == 1
    assert report.value("accuracy") == 1  # re-enrolling loses nothing


def test_people_merged_with_others_are_lost_by_either_gallery():
    """The forgotten sit on a retained person's axis: that one is nearer, or as near."""
    report = judged(lambda p, i: axis(min(STAY)) if p in GONE else axis(p))
    assert report.value("rank1_old_gallery") == 0
    assert report.value("rank1_new_gallery") == 0


def test_steadier_members_differ_from_outsiders():
    """Longer embeddings of trained people give them away; forgotten ones look like outsiders."""

    def longer(people):
        return lambda p, i: axis(p) * (5 if p in people else 1)

    report = judged(longer(STAY), before=longer(STAY | GONE), oracle=axis)
    recall, auc = "membership_recall", "membership_auc"
    assert report.value(recall, model="before") == report.value(auc, model="before") == 1
    assert report.value(recall) == 0
    assert report.value(auc) == 1
    assert report.value("membership_tpr_at_1pct_fpr") == 1
    assert report.value(auc, model="oracle") == 0.5


def test_without_an_oracle():
    report = judged(forgets)
    assert set(report.rows.model) == set(report.scores.model) == {"before", "after"}
    assert list(report.summary().columns) == ["before", "after"]
    assert "tow" not in set(report.tidy().metric)


def test_without_held_out_images_of_the_forgotten_there_is_no_gallery_attack():
    _, protocol = setting()
    report = judged(forgets, protocol=replace(protocol, probes=np.empty(0, dtype=np.int64)))
    assert not report.rows.metric.str.startswith("rank1").any()
    report.summary()


@pytest.mark.parametrize("name", ["before", "after", "oracle"])
def test_a_model_that_is_not_finite_is_named(name):
    bad = int(FACES.identities[setting()[1].forget[0]])
    models = dict.fromkeys(("before", "after", "oracle"), axis)
    models[name] = lambda p, i: axis(p) * (np.nan if p == bad else 1)
    with pytest.raises(ValueError, match=name):
        judged(models["after"], models["oracle"], models["before"])


def test_scores_and_intervals():
    """Every pair's score is kept, and an interval holds its value."""
    _, protocol = setting()
    report = judged(forgets, before=noisy, protocol=protocol, n_bootstrap=20)
    counts = report.scores.groupby(["model", "set"]).size()
    for which, pairs in protocol.pairs.items():
        assert counts["before", which] == counts["after", which] == len(pairs)
    some = report.rows[report.rows.metric.isin(["accuracy", "eer"]) & (report.rows.set != "forget")]
    assert some[["low", "high"]].notna().all(axis=None)
    assert (some.low <= some.value + 0.02).all()
    assert (some.high >= some.value - 0.02).all()
    assert report.rows[report.rows.metric.str.startswith("membership")].low.isna().all()


def trained(person, first, last=None):
    """Training images of a person, from the `first` to before the `last`."""
    return [int(i) for i in SPLIT.train if FACES.identities[i] == person][first:last]


def by_sample(goes):
    request = ForgetRequest.from_indices(FACES, goes, np.setdiff1d(SPLIT.train, goes))
    return make_protocol(FACES, SPLIT, request, n_pairs=200, seed=4)


def test_intervals_where_few_people_and_pairs_are():
    """Three people with two images: a resample may lack a class outside some fold."""
    protocol = by_sample([i for person in sorted(GONE)[:3] for i in trained(person, 0, 2)])
    assert len(protocol.pairs["forget"]) == 6
    report = judged(noisy, protocol=protocol, n_bootstrap=100)
    assert report.rows[report.rows.metric == "accuracy"].value.notna().all()


def test_samples_of_people_who_stay():
    """A request by sample: across the sets an image of the same person is no impostor."""
    protocol = by_sample([i for person in GONE | STAY for i in trained(person, 0, 3)])
    assert judged(axis, protocol=protocol).value("tar_cross") == 1


def test_single_samples_of_people_who_stay():
    """An image of everyone, two of one: the attack compares each with those that stay."""
    one = min(STAY)
    protocol = by_sample([i for p in GONE | STAY for i in trained(p, 0, 2 if p == one else 1)])
    assert people_of(protocol.forget) - people_of(protocol.members)
    assert 0 <= judged(axis, protocol=protocol).value("membership_recall") <= 1


# The views of the attack


def test_half_resolution_of_a_checkerboard_is_grey():
    board = torch.from_numpy(np.indices((112, 112)).sum(0) % 2 * 200).to(torch.uint8)
    view = half_resolution(board.expand(1, 3, 112, 112))
    assert view.dtype == torch.uint8
    assert view.shape == (1, 3, 112, 112)
    assert view.unique().tolist() == [100]


def test_shift_moves_right_and_down_by_four():
    batch = torch.randint(0, 256, (2, 3, 112, 112), generator=torch.Generator().manual_seed(0))
    batch = batch.to(torch.uint8)
    view = shifted(batch)
    assert view.dtype == torch.uint8
    assert torch.equal(view[..., 4:, 4:], batch[..., :108, :108])
    assert torch.equal(view[..., :4, 4:], batch[..., :1, :108].expand(-1, -1, 4, -1))
    assert torch.equal(view[..., 4:, :4], batch[..., :108, :1].expand(-1, -1, -1, 4))
