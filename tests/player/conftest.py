"""A headless Chromium for the tests marked ``browser``; they are skipped where there is none."""

from __future__ import annotations

import shutil

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)

# No sandbox, because containers run as root; nothing that would call home.
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]


@pytest.fixture(scope="module")
def browser():
    """Return a running Chromium of Playwright's interface."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is missing: pip install 'openunmix[tests]'"
    )
    if CHROMIUM is None:
        pytest.skip("Chromium is missing: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    """Return an empty tab; what is left in its ``console_errors`` at the end fails the test."""
    context = browser.new_context(accept_downloads=True, viewport={"width": 1200, "height": 800})
    context.set_default_timeout(20_000)
    tab = context.new_page()
    errors = tab.console_errors = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on(
        "console",
        lambda message: errors.append(message.text) if message.type == "error" else None,
    )
    yield tab
    context.close()
    assert not errors
