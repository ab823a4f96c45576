import pytest
from request_report import measure, report

from cure_study.erasure import words


def forgotten(before, after):
    return report(measures=[measure("accuracy_forget", before, after)])


@pytest.mark.parametrize(
    ("after", "expected", "says"),
    [
        (0.54, "forgotten", "no longer recognised reliably"),  # 0.36 / 0.4 = 0.9 is gone
        (0.65, "partly", "only partly forgotten"),  # 0.25 / 0.4 = 0.625
        (0.85, "failed", "Do not use this encoder"),  # 0.05 / 0.4 = 0.125
        (0.95, "failed", "still recognised"),
    ],
)
def test_the_verdict_follows_from_the_share_that_is_gone(after, expected, says):
    made = forgotten(0.9, after)
    assert words.verdict(made) == expected
    assert says in words.recognised(made)
    assert f"{100 * after:.0f} % after" in words.recognised(made)


@pytest.mark.parametrize(
    ("forgotten", "auc", "expected", "says"),
    [
        (0.90, 0.55, "forgotten", "like people whom it never saw"),  # strangers 0.88
        (0.90, 0.75, "partly", "only partly like"),
        (0.97, 0.55, "partly", "AUC 0.55"),
        (0.97, 0.20, "failed", "unlike people whom it never saw"),  # 0.2 is as detectable as 0.8
    ],
)
def test_blending_is_judged_against_strangers(forgotten, auc, expected, says):
    measures = [
        measure("accuracy_forget", 0.98, forgotten),
        measure("accuracy_strangers", 0.89, 0.88),
        measure("detection_auc", 0.95, auc),
    ]
    made = report(goal="blend", measures=measures)
    assert words.verdict(made) == expected
    assert says in words.recognised(made)
    assert "once they are enrolled" in words.recognised(made)
    assert not any("erased" in sentence for sentence in words.summary(made))


def test_blending_without_strangers_is_unclear():
    made = report(goal="blend", measures=[measure("accuracy_forget", 0.98, 0.9)])
    assert words.verdict(made) == "unclear"
    assert "--strangers" in words.recognised(made)


def test_blending_after_earlier_requests_leaves_their_images_out_too():
    earlier = [measure("accuracy_request_1", 0.54, 0.85)]  # like a stranger, not unrecognised
    made = report(goal="blend", earlier_measures=earlier)
    (text,) = words.earlier(made)
    assert text == "The images of the earlier request were not learned again either."


def test_an_encoder_at_chance_before_gives_no_share():
    assert words.forgotten_share(forgotten(0.5, 0.5)) is None
    assert words.verdict(forgotten(0.5, 0.5)) == "unclear"


@pytest.mark.parametrize(("cosine", "expected"), [(0.1, "moved"), (0.9, "unclear")])
def test_with_too_few_images_the_place_of_the_images_decides(cosine, expected):
    made = report(measures=[measure("cosine_forget", 1.0, cosine)])
    assert words.verdict(made) == expected
    assert "too few images of one person" in words.recognised(made)


@pytest.mark.parametrize(
    ("after", "says"),
    [(0.93, "as well as before"), (0.915, "slightly worse"), (0.85, "clearly worse")],
)
def test_what_others_lost(after, says):
    (text,) = words.cost(report(measures=[measure("accuracy_retain", 0.93, after)]))
    assert says in text


def test_too_few_others_are_said():
    assert list(words.cost(report(measures=[]))) == [
        "There are too few images of other people to say what they lost."
    ]


@pytest.mark.parametrize(("after", "says"), [(0.95, "stay in use"), (0.6, "Enrol other people")])
def test_old_templates_of_others(after, says):
    (text,) = words.templates(report(measures=[measure("rank1_retain", 0.96, after)]))
    assert says in text


def test_lookalikes_that_are_left_are_counted_and_those_taken_along_are_not():
    (text,) = words.lookalikes(report())
    assert text.startswith("12 remaining images look like the forgotten; see lookalikes.csv")
    counts = report().counts.model_copy(update={"lookalikes_included": 12})
    assert list(words.lookalikes(report(counts=counts))) == []


@pytest.mark.parametrize(("auc", "said"), [(0.95, True), (0.2, True), (0.5, False), (0.65, False)])
def test_detection_is_said_when_it_works_in_either_direction(auc, said):
    made = report(measures=[measure("detection_auc", 0.5, auc)])
    assert bool(list(words.detectable(made))) == said


@pytest.mark.parametrize(
    ("after", "says"),
    [(0.55, "still holds"), (0.8, "No longer forgotten: the people of request 1")],
)
def test_earlier_requests_hold_or_are_named(after, says):
    kept = measure("accuracy_request_1", 0.55, after, label="accuracy of request 1")
    (text,) = words.earlier(report(earlier_measures=[kept]))
    assert says in text


def test_a_summary_has_at_most_eight_sentences():
    names = ("accuracy_forget", "accuracy_retain", "rank1_retain", "rank1_old", "detection_auc")
    everything = [measure(name, 0.9, 0.8) for name in names]
    kept = measure("accuracy_request_1", 0.55, 0.55, label="accuracy of request 1")
    sentences = words.summary(report(measures=everything, earlier_measures=[kept]))
    assert len(sentences) == 8
    assert all(sentence.endswith(".") for sentence in sentences)
    assert sentences[0].startswith("60 images were removed from the encoder, named by 2 lines")
