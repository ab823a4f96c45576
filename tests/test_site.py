"""The website: it builds without a warning, and every link inside it leads somewhere."""

import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).parents[1]
EXECUTED = ("notebooks/executed/02_unlearning", "notebooks/executed/course/4_cure_by_hand")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site")]  # it is built once


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built from the pages and the executed notebooks."""
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "build.py", "--out", out],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "html"


@pytest.fixture(scope="module")
def pages(site):
    return {
        path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for path in site.rglob("*.html")
    }


def links(page):
    """Every address that a page names: pages, pictures, styles and scripts."""
    for tag in page.find_all(["a", "img", "link", "script", "source"]):
        address = tag.get("href") or tag.get("src")
        if address:
            yield address


def test_every_link_within_the_site_leads_somewhere(site, pages):
    looked_at = 0
    for path, page in pages.items():
        for address in links(page):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            looked_at += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), f"{path.relative_to(site)} links to {address}"
            if parts.fragment and target.suffix == ".html":
                ids = {tag["id"] for tag in pages[target].find_all(id=True)}
                assert unquote(parts.fragment) in ids, f"{path.relative_to(site)}: {address}"
    assert looked_at > 300


def test_notebooks_are_shown_with_their_figures_and_the_reference_with_its_docstrings(site, pages):
    study = pages[site / f"{EXECUTED[0]}.html"]
    assert len(study.select("div.cell_output img")) >= 5
    reference = pages[site / "docs" / "api.html"]
    assert "InfoNCE over cluster centroids" in reference.get_text(" ", strip=True)
    assert len(reference.select("dl.py")) > 50


def test_pages_need_nothing_from_elsewhere(pages):
    for path, page in pages.items():
        for tag in page.find_all(["img", "script", "link"]):
            address = tag.get("src") or (
                tag.get("href") if "stylesheet" in tag.get("rel", []) else ""
            )
            assert not urlsplit(address or "").netloc, f"{path.name}: {address}"


def test_the_course_is_there_without_its_answers(site, pages):
    text = pages[site / "notebooks" / "executed" / "course" / "4_cure_by_hand.html"].get_text()
    assert "raise NotImplementedError" in text
    assert "argmin(1)" not in text
    assert "BEGIN HIDDEN" not in text
    assert pages[site / "notebooks" / "executed" / "course" / "4_cure_by_hand.html"].find_all(
        "math"
    )


@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit_a_desktop_and_a_phone(site, width):
    reason = "no playwright: pip install -e .[browser]"
    sync_api = pytest.importorskip("playwright.sync_api", reason=reason)
    found = [path for name in ("chromium", "chromium-browser", "google-chrome")
             if (path := shutil.which(name))]  # fmt: skip
    if not found:
        pytest.skip("no Chromium or Chrome on the path")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found[0], args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        complaints = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        for path in ("index", "docs/comparison", "docs/gallery", *EXECUTED):
            page.goto((site / f"{path}.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()
    assert not complaints
