"""Headless browsers for the tests marked ``browser``; they are skipped where there are none."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from helpers.web_server import wait_for

# Names under which systems have them, the newest of Debian first.
PROGRAMS = {
    "chromium": ("chromium", "chromium-browser"),
    "firefox": ("firefox-esr", "firefox"),
}

# No sandbox, because containers run as root; nothing that would call home. Firefox is the one
# of the system, spoken to with WebDriver BiDi: Playwright's own would have to be downloaded.
OPTIONS = {
    "chromium": {
        "args": [
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
    },
    "firefox": {"channel": "moz-firefox", "firefox_user_prefs": {"media.autoplay.default": 0}},
}


@pytest.fixture(scope="session")
def sound_card(tmp_path_factory):
    """Return the environment of programs whose sound goes nowhere, at the speed of a sound card."""
    program = shutil.which("pulseaudio")
    if program is None:
        pytest.skip("Firefox does not play without a sound card: apt-get install pulseaudio")
    folder = tmp_path_factory.mktemp("sound")
    path = folder / "socket"
    modules = ("module-null-sink", f"module-native-protocol-unix auth-anonymous=1 socket={path}")
    process = subprocess.Popen(
        [program, "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"]
        + [f"--load={module}" for module in modules],
        env={"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)},
        stderr=subprocess.DEVNULL,
    )
    wait_for(path.exists)
    yield {**os.environ, "PULSE_SERVER": f"unix:{path}"}
    process.terminate()
    process.wait()


@pytest.fixture(scope="module", params=list(PROGRAMS))
def browser(request, tmp_path_factory):
    """Return a running browser of Playwright's interface; it saves into its ``download_folder``."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is missing: pip install 'openunmix[tests]'"
    )
    names = PROGRAMS[request.param]
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip(f"{request.param} is missing: apt-get install {names[0]}")
    # Without a sound card Chromium plays all the same.
    sound = request.getfixturevalue("sound_card") if request.param == "firefox" else None
    with playwright.sync_playwright() as driver:
        kind = getattr(driver, request.param)
        folder = tmp_path_factory.mktemp("downloads")
        running = kind.launch(
            executable_path=program, env=sound, downloads_path=folder, **OPTIONS[request.param]
        )
        running.download_folder = folder
        yield running
        running.close()


@pytest.fixture
def download(browser):
    """Return a function that clicks on something to save, and returns the file and its name."""

    def click(tab, button):
        if browser.browser_type.name != "firefox":
            with tab.expect_download() as waiting:
                button.click()
            return Path(waiting.value.path()), waiting.value.suggested_filename
        # Playwright does not notice when Firefox saves what a page has made.
        before = set(browser.download_folder.iterdir())
        button.click()

        def saved():
            tab.wait_for_timeout(100)
            new = set(browser.download_folder.iterdir()) - before
            complete = all(path.suffix != ".part" and path.stat().st_size for path in new)
            return next(iter(new), None) if complete else None

        path = wait_for(saved)
        return path, path.name

    return click


@pytest.fixture
def page(browser):
    """Return an empty tab; what is left in its ``console_errors`` at the end fails the test."""
    context = browser.new_context(accept_downloads=True, viewport={"width": 1200, "height": 800})
    context.set_default_timeout(60_000)
    tab = context.new_page()
    errors = tab.console_errors = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on(
        "console",
        lambda message: errors.append(message.text) if message.type == "error" else None,
    )
    yield tab
    context.close()
    assert not errors, errors
