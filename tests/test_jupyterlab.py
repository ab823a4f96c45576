"""Lesson 4 in a running JupyterLab, in a real browser: run all, move the slider, no complaint."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="no playwright: pip install -e .[browser]"
)
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
LESSON = Path(__file__).parents[1] / "notebooks" / "course" / "source" / "4_cure_by_hand"
TOKEN = "lesson"
pytestmark = pytest.mark.skipif(not BROWSER, reason="no Chromium or Chrome on the path")


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab in a folder with lesson 4, in the tiny world it is graded in."""
    folder = tmp_path / "course"
    shutil.copytree(LESSON, folder)
    settings = tmp_path / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    all_cells = {"windowingMode": "none"}  # else only what is in view is on the page
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps(all_cells))
    own = {
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "workspaces"),
        "CURE_CACHE": str(tmp_path / "cache"),
        "NBGRADER_EXECUTION": "autograde",
        "OMP_NUM_THREADS": "1",
    }
    options = [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}", "--port=0"]
    with open(tmp_path / "log", "w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", *options],
            env=os.environ | own, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield address(tmp_path / "runtime", server)
    finally:
        server.terminate()
        server.wait(30)


def address(runtime, server):
    """Where the server listens, once it does."""
    until = time.monotonic() + 90
    while time.monotonic() < until and server.poll() is None:
        for told in runtime.glob("jpserver-*.json"):
            return json.loads(told.read_text())["url"]
        time.sleep(0.3)
    raise AssertionError("JupyterLab did not start")


@pytest.mark.xdist_group("browser")
def test_lesson_4_runs_and_its_slider_moves(lab):
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(90_000)
        sync_api.expect.set_options(timeout=90_000)
        complaints = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda said: complaints.append(said.text) if said.type == "error" else None
        )

        page.goto(f"{lab}lab/tree/{LESSON.name}.ipynb?token={TOKEN}")
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()  # the kernel is found by itself
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        prompts = page.locator(".jp-CodeCell .jp-InputArea-prompt")
        sync_api.expect(prompts.last).to_have_text(f"[{prompts.count()}]:")
        assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0

        slider, picture = page.locator(".widget-slider").first, page.locator(".widget-interact img")
        slider.scroll_into_view_if_needed()
        before = picture.get_attribute("src")
        slider.locator(".noUi-handle").focus()
        page.keyboard.press("ArrowRight")
        sync_api.expect(slider.locator(".widget-readout")).to_have_text("0.15")
        sync_api.expect(picture).not_to_have_attribute("src", before)
        if shots := os.environ.get("CURE_SCREENSHOTS"):
            page.screenshot(path=str(Path(shots) / "lab.png"))
        browser.close()
    assert not complaints
