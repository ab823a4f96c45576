"""What a report says, in plain sentences that follow from its numbers."""

from collections.abc import Iterator

from cure_study.erasure.report import Measure, Report

FORGOTTEN, PARTLY = 0.8, 0.5  # shares of the recognisability that is gone; our choice
SAME, SLIGHTLY = 0.01, 0.03  # losses of accuracy on everyone else
USABLE = 0.02  # loss of rank-1 up to which old templates stay in use
DETECTED = 0.7  # AUC from which the erasure counts as detectable
RECOGNISED = 0.75  # accuracy from which an earlier request no longer holds: halfway to perfect
SAME_AS_STRANGERS = 0.05  # difference of the accuracies of the forgotten and of strangers
FAR = 0.5  # similarity to the old embedding below which an image counts as moved away


def summary(report: Report) -> list[str]:
    """At most eight sentences: what was removed, how well, at what cost, and what to look at."""
    return [
        removed(report),
        recognised(report),
        *cost(report),
        *templates(report),
        *lookalikes(report),
        *detectable(report),
        *earlier(report),
    ]


def removed(report: Report) -> str:
    """How many images, and why."""
    counts = report.counts
    lines = f"{len(report.lines):,} {'line' if len(report.lines) == 1 else 'lines'} of the list"
    text = f"{_images(counts.forget)} removed from the encoder, named by {lines}"
    if counts.lookalikes_included:
        text += f"; {counts.lookalikes_included:,} of them because they look like a listed one"
    how = "trained to keep" if report.goal == "erase" else "trained again on"
    return f"{text}. The encoder was {how} {_images(counts.retain, '')}."


def verdict(report: Report) -> str:
    """One of "forgotten", "partly", "failed", "moved" and "unclear" (too few images to say).

    By the goal: no longer recognised, or like strangers.
    """
    if report.goal == "blend":
        alike = [gap <= most for gap, most in _from_strangers(report)]
        if not alike:
            return "unclear"
        return "forgotten" if all(alike) else "partly" if any(alike) else "failed"
    share = forgotten_share(report)
    if share is not None:
        return "forgotten" if share >= FORGOTTEN else "partly" if share >= PARTLY else "failed"
    cosine = report.value("cosine_forget")
    return "unclear" if cosine is None or cosine >= FAR else "moved"


def forgotten_share(report: Report) -> float | None:
    """The share of the accuracy above chance on the forgotten people that is gone, in [0, 1].

    None if it was not measured, or the encoder was at chance before.
    """
    before, after = (report.value("accuracy_forget", m) for m in ("before", "after"))
    if before is None or after is None or before <= 0.5:
        return None
    return min(1.0, max(0.0, (before - after) / (before - 0.5)))


def recognised(report: Report) -> str:
    """How well the forgotten people are still recognised."""
    if report.goal == "blend":
        return _blended(report)
    found = verdict(report)
    before, after = (report.value("accuracy_forget", m) for m in ("before", "after"))
    if before is not None and after is not None and forgotten_share(report) is not None:
        numbers = (
            f"whether two images show one person was right in {_percent(before)} of the cases "
            f"before and in {_percent(after)} after, where guessing gives 50 %"
        )
        return {
            "forgotten": f"The forgotten people are no longer recognised reliably: {numbers}.",
            "partly": f"The forgotten people are only partly forgotten: {numbers}.",
            "failed": f"The forgotten people are still recognised: {numbers}. "
            "Do not use this encoder as an answer to the request.",
        }[found]
    if found == "moved":
        return (
            "There are too few images of one person to say how well they are recognised; the "
            "encoder no longer places the forgotten images where it did."
        )
    return (
        "There are too few images of one person to say how well they are recognised, and the "
        "encoder still places the forgotten images near to where it did."
    )


def _from_strangers(report: Report) -> list[tuple[float, float]]:
    """How far the forgotten differ from strangers by each measure, and the most that is alike."""
    forgotten, strangers = (report.value(f"accuracy_{name}") for name in ("forget", "strangers"))
    auc, found = report.value("detection_auc"), []
    if forgotten is not None and strangers is not None:
        found.append((abs(forgotten - strangers), SAME_AS_STRANGERS))
    if auc is not None:
        found.append((abs(auc - 0.5), DETECTED - 0.5))
    return found


def _blended(report: Report) -> str:
    """Whether the forgotten people are treated like strangers."""
    found = verdict(report)
    if found == "unclear":
        return (
            "Nothing says whether the encoder treats the forgotten people like strangers: give "
            "images of people whom it never saw (--strangers)."
        )
    forgotten, strangers = (report.value(f"accuracy_{name}") for name in ("forget", "strangers"))
    auc, numbers = report.value("detection_auc"), []
    if forgotten is not None and strangers is not None:
        numbers.append(
            f"whether two images show one person is right in {_percent(forgotten)} of the cases, "
            f"for strangers in {_percent(strangers)}"
        )
    if auc is not None:
        numbers.append(f"a detector separates the two with AUC {auc:.2f}, where 0.5 is chance")
    how = {
        "forgotten": "like people whom it never saw",
        "partly": "only partly like people whom it never saw",
        "failed": "unlike people whom it never saw",
    }[found]
    return (
        f"The encoder treats the forgotten people {how}: {'; '.join(numbers)}. As with any "
        "stranger, it recognises them again once they are enrolled."
    )


def cost(report: Report) -> Iterator[str]:
    """What everyone else lost."""
    before, after = (report.value("accuracy_retain", m) for m in ("before", "after"))
    if before is None or after is None:
        yield "There are too few images of other people to say what they lost."
        return
    loss = before - after
    how = "as well as before" if loss <= SAME else "slightly worse"
    if loss > SLIGHTLY:
        how = "clearly worse"
    numbers = f"{_percent(before, 1)} right before, {_percent(after, 1)} after"
    yield f"Everyone else is recognised {how}: {numbers}."


def templates(report: Report) -> Iterator[str]:
    """What must be done with templates that the encoder made before."""
    before, after = (report.value("rank1_retain", m) for m in ("before", "after"))
    if before is not None and after is not None:
        keep = after >= before - USABLE
        yield (
            "Templates of other people that are already enrolled can stay in use."
            if keep
            else "Enrol other people again: with templates enrolled before, "
            f"{_percent(after)} of their images are identified, where {_percent(before)} were."
        )
    old = report.value("rank1_old")
    if old is not None:
        yield (
            "Delete the enrolled templates of the forgotten: with them, "
            f"{_percent(old)} of their images are still identified."
        )


def lookalikes(report: Report) -> Iterator[str]:
    """How many images the list may have forgotten."""
    found = report.lookalikes
    left = found.exact + found.near + found.similar - report.counts.lookalikes_included
    if left > 0:
        verb = "image looks" if left == 1 else "images look"
        yield f"{left:,} remaining {verb} like the forgotten; see lookalikes.csv."


def detectable(report: Report) -> Iterator[str]:
    """Whether someone can see that an erasure took place."""
    auc = report.value("detection_auc")
    if report.goal == "erase" and auc is not None and max(auc, 1 - auc) >= DETECTED:
        yield (
            "Someone who holds images of the forgotten can detect that they were erased "
            f"(AUC {auc:.2f}; 0.5 is no trace)."
        )


def earlier(report: Report) -> Iterator[str]:
    """Whether the requests before still hold."""
    if report.earlier is None:
        return
    broken = [m for m in report.earlier.still_forgotten if not holds(m)]
    count = report.earlier.requests
    which = "The earlier request" if count == 1 else f"The {count} earlier requests"
    if report.goal == "blend":
        yield f"The images of {which[0].lower()}{which[1:]} were not learned again either."
        return
    if not report.earlier.still_forgotten:
        yield f"{which} could not be checked: too few of their images are left in the folder."
    elif broken:
        names = ", ".join(m.label.rpartition(" ")[2] for m in broken)
        yield f"No longer forgotten: the people of request {names}. Forget them again."
    else:
        yield f"{which} still {'holds' if count == 1 else 'hold'}."


def holds(measure: Measure) -> bool:
    """Whether the people of an earlier request are still not recognised."""
    return measure.after is None or measure.after.value < RECOGNISED


def _percent(share: float, decimals: int = 0) -> str:
    return f"{100 * share:.{decimals}f} %"


def _images(count: int, verb: str = " were") -> str:
    if count == 1:
        return f"1 image{' was' if verb else ''}"
    return f"{count:,} images{verb}"
