import numpy as np
import pytest

from cure_study.data.splits import split_people

COUNTS = {5: 40, 11: 10, 12: 9, 20: 25, 30: 12, 31: 100, 40: 15, 77: 1}
IDENTITIES = np.random.default_rng(0).permutation(np.repeat(list(COUNTS), list(COUNTS.values())))


def count(index: np.ndarray) -> dict[int, int]:
    people, counts = np.unique(IDENTITIES[index], return_counts=True)
    return dict(zip(people.tolist(), counts.tolist(), strict=True))


def test_parts_are_disjoint_sorted_and_of_the_right_people():
    split = split_people(IDENTITIES, min_images=10, max_images=30, outsiders=2, seed=3)
    together = np.concatenate([split.train, split.heldout, split.outsiders])
    assert len(np.unique(together)) == len(together)
    for part in (split.train, split.heldout, split.outsiders):
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
    train, heldout, outsiders = map(count, (split.train, split.heldout, split.outsiders))
    assert train.keys() == heldout.keys()
    assert len(outsiders) == 2
    assert not train.keys() & outsiders.keys()
    assert train.keys() | outsiders.keys() == {p for p, n in COUNTS.items() if n >= 10}
    assert repr(split) == (
        f"Split({len(split.train)} training and {len(split.heldout)} held-out images of the same "
        f"people, {len(split.outsiders)} images of outsiders)"
    )


def test_counts_by_hand():
    """No outsiders; 20 % of 40, 10, 25, 12, 100 and 15, each cut to 30 first: 6 2 5 2 6 3."""
    split = split_people(IDENTITIES, min_images=10, max_images=30, outsiders=0, heldout=0.2)
    assert count(split.heldout) == {5: 6, 11: 2, 20: 5, 30: 2, 31: 6, 40: 3}
    assert count(split.train) == {5: 24, 11: 8, 20: 20, 30: 10, 31: 24, 40: 12}
    assert len(split.outsiders) == 0


def test_two_are_held_out_at_least_for_a_pair():
    split = split_people(IDENTITIES, min_images=9, outsiders=0, heldout=0.01)
    assert set(count(split.heldout).values()) == {2}


def test_no_limit_uses_every_image():
    split = split_people(IDENTITIES, min_images=10, max_images=None, outsiders=0)
    assert len(split.train) + len(split.heldout) == sum(n for n in COUNTS.values() if n >= 10)


def test_a_seed_repeats_and_another_differs():
    first, again, other = (split_people(IDENTITIES, outsiders=2, seed=s) for s in (0, 0, 1))
    for part in ("train", "heldout", "outsiders"):
        assert np.array_equal(getattr(first, part), getattr(again, part))
    assert not np.array_equal(first.train, other.train)


def test_the_unseen_take_no_part():
    """5 and 30 are kept for a protocol of strangers: whoever is trained on must not be in it."""
    unseen = np.isin(IDENTITIES, [5, 30])
    split = split_people(IDENTITIES, unseen=unseen, min_images=10, outsiders=1)
    everyone = np.concatenate([split.train, split.heldout, split.outsiders])
    assert set(IDENTITIES[everyone].tolist()) == {11, 20, 31, 40}


def test_too_few_people_says_how_many():
    """Six have ten images: four outsiders leave two to train on, five one."""
    split_people(IDENTITIES, min_images=10, outsiders=4)
    with pytest.raises(
        ValueError, match="6 people have 10 images or more, too few for 5 outsiders"
    ):
        split_people(IDENTITIES, min_images=10, outsiders=5)


@pytest.mark.parametrize(
    "nothing_left", [{"heldout": 1.0}, {"heldout": -0.1}, {"min_images": 2}, {"max_images": 2}]
)
def test_a_person_must_have_something_to_train_on(nothing_left):
    """Two are held out of each, so three are the fewest."""
    with pytest.raises(ValueError, match=next(iter(nothing_left))):
        split_people(IDENTITIES, outsiders=1, **nothing_left)


def test_of_three_images_one_is_trained_on_however_many_are_held_out():
    split = split_people(np.repeat(np.arange(4), 3), min_images=3, outsiders=1, heldout=0.9)
    assert (len(split.train), len(split.heldout), len(split.outsiders)) == (3, 6, 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"min_images": "10"}, "min_images='10'; it is a whole number, 3 or more"),
        ({"min_images": None}, "min_images=None"),
        ({"outsiders": -1}, "outsiders=-1; it is a whole number, 0 or more"),
        ({"outsiders": True}, "outsiders=True"),
        ({"heldout": "0.2"}, "heldout='0.2'; it is a number from 0 to below 1"),
        ({"heldout": float("nan")}, "heldout=nan"),
    ],
)
def test_a_field_of_another_type_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        split_people(IDENTITIES, **wrong)
