import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from request_report import measure, report

from cure_study.erasure.lookalikes import COLUMNS
from cure_study.erasure.page import NAMED, SHOWN, write_page
from cure_study.erasure.report import Report

VOID = {"meta", "img", "br"}


class Outline(HTMLParser):
    """The tags in order, the addresses, and the texts; raises if tags are not nested."""

    def __init__(self, text):
        super().__init__()
        self.open, self.headings, self.addresses, self.images, self.texts = [], [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.addresses += [attrs[name] for name in ("src", "href") if name in attrs]
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))
        if tag == "img":
            self.images.append(attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def rows(count):
    values = [(f"ann/{i}.png", "similar", "bob/1.png", 0.8, False) for i in range(count)]
    return pd.DataFrame(values, columns=COLUMNS)


def scores():
    rng = np.random.default_rng(0)
    tables = [
        pd.DataFrame(
            {"model": model, "set": which, "genuine": [True, False] * 50, "score": rng.random(100)}
        )
        for model in ("before", "after")
        for which in ("forget", "retain")
    ]
    return pd.concat(tables)


@pytest.fixture
def page(tmp_path):
    def write(made=None, lookalikes=2, pairs=None):
        made = report() if made is None else made
        images = np.zeros((lookalikes, 112, 112, 3), np.uint8)
        path = write_page(
            made,
            tmp_path,
            scores=scores() if pairs is None else pairs,
            lookalikes=rows(lookalikes),
            lookalike_images=images,
            moved_images=np.zeros((len(made.moved), 112, 112, 3), np.uint8),
        )
        return path.read_text(encoding="utf-8")

    return write


def test_the_page_is_self_contained_and_well_formed(page):
    outline = Outline(page())
    assert outline.addresses
    assert all(address.startswith("data:image/") for address in outline.addresses)
    assert all(image["alt"] for image in outline.images)
    assert outline.headings[0] == 1
    steps = np.diff(outline.headings)
    assert steps.max() <= 1  # no level of heading is skipped


def test_it_says_first_what_was_achieved_and_then_what_it_does_not_show(page):
    text = page()
    order = [
        "60 images were removed",
        "no longer recognised reliably",
        "What this report does not show",
        "Backups are outside",
        "accuracy forget",
        "Audit trail",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_bars_show_the_share_above_chance(page):
    """Accuracy 0.95 and 0.54: 90 % and 8 % of the way from guessing to never wrong."""
    text = page()
    assert "the forgotten: 90 % recognisable before, 8 % after" in text


def test_digests_counts_lines_and_files_left_out_are_in_the_audit_trail(page):
    text = page()
    for part in ("ab" * 32, "student.safetensors", "bob/1*.png", "notes.txt", "torch", "2.12.1"):
        assert part in text


def test_names_are_escaped(page):
    name = "<script>alert('x')</script> & Zoë\nnew line.png"
    made = report(left_out={name: "unreadable <b>"})
    text = page(made)
    assert "<script>" not in text
    assert name in "".join(Outline(text).texts)


def test_a_page_without_pairs_or_lookalikes_says_so(page):
    nothing = pd.DataFrame({"model": [], "set": [], "genuine": [], "score": []})
    text = page(report(measures=[]), lookalikes=0, pairs=nothing)
    assert "too few images of one person to draw" in text
    assert "None was found" in text
    Outline(text)


def test_earlier_requests_are_listed_with_whether_they_hold(page):
    kept = measure("accuracy_request_1", 0.55, 0.9, label="accuracy of request 1")
    text = page(report(earlier_measures=[kept]))
    assert "../first" in text
    assert "No longer forgotten: the people of request 1" in text


def test_long_lists_are_cut_and_counted(page):
    left_out = {f"file-{i}.txt": ".txt" for i in range(100_000)}
    text = page(report(left_out=left_out), lookalikes=SHOWN + 5)
    assert len(text) < 1_000_000
    assert f"{100_000 - NAMED:,} more are in" in text
    assert "5 more are in" in text
    assert text.count("data:image/webp") == SHOWN + 1


def test_the_python_example_of_the_page_calls_what_a_report_has():
    text = (Path(__file__).parents[3] / "docs" / "requests.md").read_text(encoding="utf-8")
    called = re.findall(r"erasure\.report\.(\w+)\(", text)
    assert called
    assert all(callable(getattr(Report, name, None)) for name in called)
