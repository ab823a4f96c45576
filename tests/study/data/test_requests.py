import numpy as np
import pytest

from cure_study.data.faceset import FaceSet
from cure_study.data.requests import ForgetRequest, ForgetRequestError

PEOPLE = np.array([7, 7, 3, 3, 3, 9, 9, 12, 12, 12])


class Untouchable:
    """Labels that raise however they are looked at."""

    def __getattribute__(self, name):
        raise AssertionError(f"a label was touched, by {name}")

    def _raise(self, *_):
        raise AssertionError("a label was touched")

    __len__ = __iter__ = __getitem__ = __array__ = __eq__ = __repr__ = _raise
    __hash__ = None


def faces(identities=PEOPLE, count=10):
    """Image i is painted with the number i."""
    codes = np.arange(count, dtype=np.uint8)[:, None, None, None]
    images = np.broadcast_to(codes, (count, 112, 112, 3))
    return FaceSet("painted", images, identities, "0")


def painted(view):
    return view[np.arange(len(view))][:, 0, 0, 0].tolist()


def test_by_indices_gives_views_of_those_images():
    request = ForgetRequest.from_indices(faces(), [4, 1, 4], np.array([0, 9]))
    assert painted(request.forget) == [1, 4]
    assert painted(request.retain) == [0, 9]
    assert request.forget_index.tolist() == [1, 4]
    assert request.retain_index.tolist() == [0, 9]
    assert request.forget_index.dtype == request.retain_index.dtype == np.int64
    assert request.forget.shape == (2, 112, 112, 3)
    assert repr(request) == "ForgetRequest(forget 2 images, retain 2)"


def test_by_indices_touches_no_label_and_leads_to_none():
    """The promise of the method: the unlearning side has no way to an identity."""
    request = ForgetRequest.from_indices(faces(Untouchable()), [1, 4], [0, 9])
    assert painted(request.forget) == [1, 4]
    assert painted(request.retain) == [0, 9]
    repr(request)
    reachable = [vars(request), vars(request.forget), vars(request.retain)]
    kept = [value for names in reachable for value in names.values()]
    assert not any(type(value) in (FaceSet, Untouchable) for value in kept)


def test_samples_on_both_sides_are_counted_and_the_first_named():
    with pytest.raises(ForgetRequestError, match=r"share 4 samples \(first: 2, 5, 6\)"):
        ForgetRequest.from_indices(faces(), [1, 2, 5, 6, 8], [8, 6, 5, 2, 0])


@pytest.mark.parametrize(
    ("forget", "retain", "said"),
    [
        ([], [1], "the forget side is empty"),
        ([1], [], "the retain side is empty"),
        ([1], [0, 10], "retain index 10 is outside the set's 10 images"),
        ([1, -1], [2], "forget index -1 is outside the set's 10 images"),
    ],
)
def test_a_side_that_is_empty_or_outside_is_named(forget, retain, said):
    with pytest.raises(ForgetRequestError, match=said):
        ForgetRequest.from_indices(faces(), forget, retain)


@pytest.mark.parametrize("side", [[0.5, 3.5], np.arange(10) < 2], ids=["floats", "a mask"])
def test_what_is_no_index_is_refused(side):
    """Fractions would be cut, and a mask read as the samples 0 and 1."""
    with pytest.raises(ForgetRequestError, match="forget"):
        ForgetRequest.from_indices(faces(), side, [8, 9])


def test_a_person_goes_with_all_training_samples():
    train = np.array([0, 2, 3, 5, 6, 8, 9])
    request = ForgetRequest.of_people(faces(), train, [12, 3])
    assert request.forget_index.tolist() == [2, 3, 8, 9]  # 4 and 7 are not trained on
    assert request.retain_index.tolist() == [0, 5, 6]


def test_a_person_without_a_training_sample_is_named():
    with pytest.raises(ForgetRequestError, match=r"2 people have no training sample \(first: 9\)"):
        ForgetRequest.of_people(faces(), np.arange(5), [3, 9, 12])


def test_everyone_leaves_nobody_to_retain():
    with pytest.raises(ForgetRequestError, match="retain side is empty"):
        ForgetRequest.of_people(faces(), np.arange(10), [3, 7, 9, 12])


@pytest.mark.parametrize("count", [-1, 0, 4, 5])
def test_random_people_are_at_least_one_and_leave_one(count):
    with pytest.raises(ForgetRequestError, match=f"forget {count} of 4 people; ask for 1 to 3"):
        ForgetRequest.random_people(faces(), np.arange(10), count)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_random_people_are_whole_people_from_training(count):
    train = np.array([0, 1, 2, 3, 5, 7, 8, 9])
    request = ForgetRequest.random_people(faces(), train, count, seed=5)
    gone, kept = (set(PEOPLE[i]) for i in (request.forget_index, request.retain_index))
    assert len(gone) == count
    assert gone.isdisjoint(kept)
    assert np.array_equal(np.union1d(request.forget_index, request.retain_index), train)


def test_random_people_follow_the_seed():
    identities = np.repeat(np.arange(30), 2)

    def draw(seed):
        request = ForgetRequest.random_people(faces(identities, 60), np.arange(60), 8, seed)
        return request.forget_index.tolist()

    assert draw(0) == draw(0)
    assert len({tuple(draw(seed)) for seed in range(5)}) == 5


def test_random_people_are_each_as_likely():
    """Four people, one drawn: each about 50 times of 200 (five standard deviations: 31)."""
    drawn = [
        PEOPLE[ForgetRequest.random_people(faces(), np.arange(10), 1, s).forget_index[0]]
        for s in range(200)
    ]
    assert all(abs(drawn.count(person) - 50) < 31 for person in (3, 7, 9, 12))


def test_random_samples_are_drawn_from_the_training_images():
    train = np.array([0, 2, 3, 5, 8])
    request = ForgetRequest.random_samples(faces(), train, 2, seed=1)
    assert len(request.forget) == 2
    assert sorted([*request.forget_index, *request.retain_index]) == train.tolist()
    again = ForgetRequest.random_samples(faces(), train[::-1], 2, seed=1)
    assert again.forget_index.tolist() == request.forget_index.tolist()
    drawn = {
        tuple(ForgetRequest.random_samples(faces(), train, 2, s).forget_index) for s in range(9)
    }
    assert len(drawn) > 1


@pytest.mark.parametrize("count", [0, 5])
def test_all_or_no_samples_are_refused(count):
    with pytest.raises(ForgetRequestError, match=f"cannot forget {count} of 5 images"):
        ForgetRequest.random_samples(faces(), np.arange(5), count)


def turned(*degrees):
    """Embeddings on the circle, one an image of PEOPLE, by the person's angle."""
    angle = np.deg2rad([dict(zip((3, 7, 9, 12), degrees, strict=True))[p] for p in PEOPLE])
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def gone(request):
    return sorted(set(PEOPLE[request.forget_index].tolist()))


def test_the_hardest_person_is_one_of_the_most_alike():
    # 9 and 12 are 5 degrees apart, 7 is 20 from 9, 3 far away.
    near = turned(180, 0, 20, 25)
    assert gone(ForgetRequest.hardest_people(faces(), np.arange(10), 1, near)) == [9]
    # 12 is bound to stay as 9's likeness, so 7 goes next: its likeness 9 goes, 12 stays.
    assert gone(ForgetRequest.hardest_people(faces(), np.arange(10), 2, near)) == [7, 9]


def test_a_person_without_a_likeness_who_stays_cannot_go():
    """Of two pairs of look-alikes one each can go; the third person asked for has none left."""
    pairs = turned(180, 0, 5, 186)
    with pytest.raises(ForgetRequestError, match=r"2 of 4 people can go while .* not 3"):
        ForgetRequest.hardest_people(faces(), np.arange(10), 3, pairs)
    with pytest.raises(ForgetRequestError, match="cannot forget 4 of 4 people; ask for 1 to 3"):
        ForgetRequest.hardest_people(faces(), np.arange(10), 4, pairs)


def test_hardest_people_leave_their_nearest_neighbours_behind():
    """On random people: everyone who goes has somebody who stays as near as anybody who goes."""
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(30), 2)
    known = np.repeat(rng.normal(size=(30, 8)), 2, axis=0)
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    drawn = FaceSet("painted", faces(count=60).images, people, "0")
    request = ForgetRequest.hardest_people(drawn, np.arange(60), 5, known)
    goes = np.isin(np.arange(30), people[request.forget_index])
    cosine = known[::2] @ known[::2].T
    np.fill_diagonal(cosine, -1)
    nearest = cosine[:, ~goes].max(axis=1)
    assert nearest[goes].mean() > np.quantile(nearest[~goes], 0.5)


# By quality


BRIGHTNESS = np.arange(10.0)  # image i is painted with the number i


@pytest.mark.filterwarnings("ignore:1 people would lose")
def test_the_poorest_go_by_fraction_or_threshold():
    by_fraction = ForgetRequest.lowest_quality(faces(), BRIGHTNESS, fraction=0.3)
    by_threshold = ForgetRequest.lowest_quality(faces(), BRIGHTNESS, threshold=2.5)
    for request in (by_fraction, by_threshold):
        assert request.forget_index.tolist() == [0, 1, 2]
        assert request.retain_index.tolist() == [3, 4, 5, 6, 7, 8, 9]


def test_at_least_one_goes_and_of_equal_scores_the_earlier():
    request = ForgetRequest.lowest_quality(faces(), np.zeros(10), fraction=0.01)
    assert request.forget_index.tolist() == [0]


def test_who_is_affected_and_a_warning_where_somebody_loses_all():
    with pytest.warns(UserWarning, match="1 people would lose every image"):
        request = ForgetRequest.lowest_quality(faces(), BRIGHTNESS, fraction=0.3)
    affected = request.affected(faces())
    assert affected.to_dict("list") == {
        "person": [7, 3],
        "images": [2, 3],
        "lost": [2, 1],
        "share": [1.0, pytest.approx(1 / 3)],
    }


@pytest.mark.filterwarnings("error")
def test_no_warning_where_everybody_keeps_an_image():
    ForgetRequest.lowest_quality(faces(), BRIGHTNESS, fraction=0.1)


@pytest.mark.parametrize(
    ("scores", "limit", "message"),
    [
        (BRIGHTNESS, {}, "give one of the two"),
        (BRIGHTNESS, {"fraction": 0.1, "threshold": 3}, "give one of the two"),
        (BRIGHTNESS, {"fraction": 0}, "fraction=0; it is a share between 0 and 1"),
        (BRIGHTNESS, {"fraction": 1}, "fraction=1; it is a share between 0 and 1"),
        (BRIGHTNESS, {"fraction": float("nan")}, "fraction=nan; it is a share"),
        (BRIGHTNESS, {"threshold": float("nan")}, "threshold=nan; it is a finite score"),
        (BRIGHTNESS, {"threshold": -1}, "takes 0 of 10 images; their scores are between 0 and 9"),
        (BRIGHTNESS, {"threshold": 10}, "takes 10 of 10 images"),
        (BRIGHTNESS[:9], {"fraction": 0.1}, r"scores of shape \(9,\)"),
        (np.full(10, np.nan), {"fraction": 0.1}, "a finite number for each of 10 images"),
    ],
)
def test_wrong_limits_and_scores_are_refused(scores, limit, message):
    with pytest.raises(ForgetRequestError, match=message):
        ForgetRequest.lowest_quality(faces(), scores, **limit)


@pytest.mark.parametrize("count", ["2", 1.5, True, None, float("nan")])
def test_a_count_is_a_whole_number(count):
    for draw in (ForgetRequest.random_people, ForgetRequest.random_samples):
        with pytest.raises(ForgetRequestError, match=f"cannot forget {count!r} of"):
            draw(faces(), np.arange(10), count)
