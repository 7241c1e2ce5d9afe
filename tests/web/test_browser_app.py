"""The app of ``umx-serve`` in browsers: from a song to its stems, as a user goes."""

from __future__ import annotations

import importlib.util
import io
import re
import zipfile
from pathlib import Path

import pytest
import soundfile
from helpers.models import save_model
from helpers.sounds import mixture
from helpers.web_server import send, serving, wait_for, wav_bytes

from openunmix import web
from openunmix.audio import probe
from openunmix.cli import _separate
from openunmix.web.server import tasks as separation
from openunmix.web.server.settings import Settings

pytestmark = pytest.mark.browser

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is missing: pip install 'openunmix[tests]'"
)
expect = playwright.expect

RATE = 44100
TOKEN = "a token for the tests"

expect.set_options(timeout=120_000)  # for busy machines


@pytest.fixture(scope="module")
def server(tmp_path_factory, tiny_separator):
    """Return a client of a server that separates with a tiny model."""
    folder = tmp_path_factory.mktemp("app")
    model = save_model(folder / "tiny", tiny_separator(("vocals", "drums", "bass", "other")))
    with serving(Settings(folder / "data", model=str(model)), separation.separate) as client:
        client.model = model
        yield client


@pytest.fixture
def page(page):
    """Return an empty tab in which requests may be refused."""
    page.set_default_timeout(120_000)
    yield page
    errors = page.console_errors
    errors[:] = [error for error in errors if "Failed to load resource" not in error]


@pytest.fixture
def app(page, server):
    """Return the page of the app, without songs."""
    for job in server.get("/api/jobs").json():
        server.delete(f"/api/jobs/{job['id']}")
    page.goto(str(server.base_url))
    expect(page.get_by_label("Vocals")).to_be_visible()
    return page


@pytest.fixture
def pretending(page, tmp_path):
    """Return the page of a server that only pretends to separate, and a client of it."""
    with serving(Settings(tmp_path / "data", max_upload=100_000)) as client:
        page.goto(str(client.base_url))
        expect(page.get_by_label("Vocals")).to_be_visible()
        yield page, client


def real_song(folder):
    """Return the song that comes with stempeg, or a made one where it is not installed."""
    found = importlib.util.find_spec("stempeg")
    if found:
        return next(Path(found.origin).parent.glob("data/*.stem.mp4"))
    path = folder / "made.wav"
    soundfile.write(path, mixture(5 * RATE).T.numpy(), RATE)
    return path


def samples(content):
    """Return the samples of a file as bytes; its header holds the time at which it was written."""
    return soundfile.read(io.BytesIO(content), dtype="float32")[0].tobytes()


def row(tab, name):
    """Return the list item of a song."""
    return tab.get_by_role("listitem").filter(has=tab.get_by_role("heading", name=name))


def wave(name, content=None):
    """Return a file for a file chooser."""
    return {
        "name": name,
        "mimeType": "audio/wav",
        "buffer": wav_bytes() if content is None else content,
    }


def test_song_becomes_stems_to_listen_to_and_to_download(
    app, server, tmp_path, monkeypatch, download
):
    source = real_song(tmp_path)
    app.get_by_label("Drop songs here").set_input_files(source)
    item = row(app, source.name)
    expect(item).to_contain_text("vocals")
    expect(item.get_by_role("link", name="Listen")).to_be_visible()
    expect(app.get_by_role("status").last).to_have_text(f"{source.name} is ready")
    monkeypatch.chdir(tmp_path)
    arguments = [str(source), "--model", str(server.model), "--outdir", "stems", "--quiet"]
    assert _separate.main(arguments) == 0
    expected = {path.name: samples(path.read_bytes()) for path in Path("stems").rglob("*.wav")}

    path, name = download(app, item.get_by_role("link", name="as zip"))
    assert name.endswith(".zip")
    with zipfile.ZipFile(path) as archive:
        found = {name: samples(archive.read(name)) for name in archive.namelist()}
    assert found == expected
    path, name = download(app, item.get_by_role("link", name="as .stem.mp4"))
    assert name.endswith(".stem.mp4")
    assert probe(path).streams == 1 + len(expected)

    item.get_by_role("link", name="Listen").click()
    app.wait_for_url(re.compile("/index.html$"))
    app.evaluate("player.ready")
    app.get_by_role("button", name="Play").click()
    wait_for(lambda: app.wait_for_timeout(100) or max(app.evaluate("player.levels()")) > 1e-3)
    path, _ = download(app, app.get_by_role("link", name=re.compile("vocals")))
    assert samples(path.read_bytes()) == expected["vocals.wav"]
    app.go_back()
    expect(row(app, source.name)).to_be_visible()


def test_model_and_stems_can_be_chosen(app):
    model = app.get_by_label("Model")
    assert model.input_value() == "tiny"
    for name in ("Drums", "Bass", "Other"):
        app.get_by_label(name).uncheck()
    app.get_by_label("The rest").check()
    app.get_by_label("Vocals").click()
    expect(app.get_by_label("Vocals")).to_be_checked()  # something has to be left
    app.get_by_label("Drop songs here").set_input_files(wave("a.wav"))
    expect(row(app, "a.wav")).to_contain_text("0:01 · tiny · vocals, the rest")
    model.select_option("umxse")
    expect(app.get_by_label("Speech")).to_be_checked()
    expect(app.locator("#about-model")).to_contain_text("Licence of the weights")


def test_several_files_can_be_dropped_anywhere(app):
    script = """names => {
        const dropped = new DataTransfer();
        for (const name of names) dropped.items.add(new File(["x"], name, {type: "audio/wav"}));
        for (const type of ["dragenter", "dragover", "drop"]) {
            document.body.dispatchEvent(
                new DragEvent(type, {dataTransfer: dropped, bubbles: true, cancelable: true}));
        }
    }"""
    app.evaluate(script, ["a.wav", "b.wav"])
    for name in ("a.wav", "b.wav"):
        expect(row(app, name)).to_contain_text(f"'{name}' is damaged or not an audio file")


def test_page_can_be_used_with_the_keyboard_alone(app):
    app.get_by_label("Drop songs here").set_input_files(wave("a.wav"))
    expect(row(app, "a.wav").get_by_role("link", name="Listen")).to_be_visible()
    order = []
    for _ in range(11):
        app.keyboard.press("Tab")
        order.append(
            app.evaluate(
                "(document.activeElement.getAttribute('aria-label')"
                " ?? document.activeElement.labels?.[0]?.textContent"
                " ?? document.activeElement.textContent).trim().split('\\n')[0]"
            )
        )
    assert order[:2] == ["Drop songs here, or choose files", "Model"]
    assert order[2:7] == ["Bass", "Drums", "Other", "Vocals", "The rest"]
    assert order[7:] == [
        "Listen to a.wav",
        "Download the stems of a.wav as zip",
        "Download a.wav as .stem.mp4",
        "Remove a.wav",
    ]
    app.keyboard.press("Enter")
    expect(row(app, "a.wav")).to_have_count(0)
    expect(app.get_by_text("Nothing here yet")).to_be_visible()
    assert app.evaluate("document.activeElement.id") == "files"


def test_running_song_shows_its_progress_and_can_be_cancelled(pretending):
    tab, client = pretending
    tab.get_by_label("Drop songs here").set_input_files([wave("slow.wav"), wave("next.wav")])
    slow, following = row(tab, "slow.wav"), row(tab, "next.wav")
    expect(slow).to_contain_text(re.compile(r"0:00 of 0:01, about \d+\ss left"))
    expect(slow.get_by_role("progressbar", name="Progress of slow.wav")).to_be_visible()
    expect(following).to_contain_text("Waiting, 1 song before it")
    slow.get_by_role("button", name="Cancel").click()
    expect(slow).to_have_count(0)
    expect(following.get_by_role("link", name="Listen")).to_be_visible()
    assert [job["name"] for job in client.get("/api/jobs").json()] == ["next.wav"]


def test_upload_can_be_cancelled_and_the_next_one_goes_on(pretending):
    tab, client = pretending
    held = []  # an upload that takes until it is cancelled
    tab.route("**/api/jobs", lambda route: held.append(route), times=1)
    tab.get_by_label("Drop songs here").set_input_files([wave("a.wav"), wave("b.wav")])
    expect(row(tab, "b.wav")).to_contain_text("Waiting to be sent")
    row(tab, "a.wav").get_by_role("button", name="Cancel").click()
    expect(row(tab, "a.wav")).to_have_count(0)
    expect(row(tab, "b.wav").get_by_role("link", name="Listen")).to_be_visible()
    assert [job["name"] for job in client.get("/api/jobs").json()] == ["b.wav"]
    held.pop().abort()  # Playwright waits for an answer


def test_failures_are_shown_and_other_songs_go_on(pretending):
    tab, _ = pretending
    files = [wave("crash.wav"), wave("large.wav", wav_bytes(20_000)), wave("good.wav")]
    tab.get_by_label("Drop songs here").set_input_files(files)
    expect(row(tab, "crash.wav")).to_contain_text("The file made the program crash")
    expect(row(tab, "large.wav")).to_contain_text(re.compile(r"1\sMB are allowed here"))
    expect(row(tab, "good.wav").get_by_role("link", name="Listen")).to_be_visible()


def test_songs_of_others_appear_by_themselves(pretending):
    tab, client = pretending
    job = send(client, "<b>other</b>.wav").json()
    expect(row(tab, "b>.wav").get_by_role("link", name="Listen")).to_be_visible()
    client.delete(f"/api/jobs/{job['id']}")
    expect(tab.get_by_text("Nothing here yet")).to_be_visible()


def test_page_fits_a_phone(app):
    app.set_viewport_size({"width": 360, "height": 740})
    app.get_by_label("Drop songs here").set_input_files(wave(f"{'long' * 25}.wav"))
    expect(app.get_by_role("link", name="Listen")).to_be_visible()
    assert app.evaluate("document.documentElement.scrollWidth") <= 360
    heights = app.evaluate(
        "[...document.querySelectorAll('.actions > *')].map((e) => e.clientHeight + 2)"
    )
    assert min(heights) >= 44


def test_token_in_an_address_opens_the_page_and_leaves_the_address(page, tmp_path):
    with serving(Settings(tmp_path / "data", token=TOKEN, hosts=None)) as client:
        page.goto(f"{client.base_url}?token={TOKEN}")
        expect(page.get_by_label("Vocals")).to_be_visible()
        wait_for(lambda: "token" not in page.url or page.wait_for_timeout(50))
        page.get_by_label("Drop songs here").set_input_files(wave("a.wav"))
        expect(page.get_by_role("link", name="Listen")).to_be_visible()


def test_token_is_asked_for_until_it_is_right_and_then_no_more(page, tmp_path):
    with serving(Settings(tmp_path / "data", token=TOKEN, hosts=None)) as client:
        for path, token in (("/jobs/x/index.html", "wrong"), ("/", TOKEN)):
            page.goto(f"{client.base_url}{path}")
            field = page.get_by_label("Token of this server")
            expect(field).to_be_focused()
            assert field.evaluate("(field) => getComputedStyle(field).borderRadius") == "8px"
            field.fill(token)
            with page.expect_navigation():
                page.get_by_role("button", name="Enter").click()
        expect(page.get_by_label("Vocals")).to_be_visible()
        page.goto(str(client.base_url))
        expect(page.get_by_label("Vocals")).to_be_visible()


def test_colours_that_app_and_player_share_have_one_home():
    static = Path(web.__file__).parent / "static"
    common, app, player = (
        re.findall(r"(--[\w-]+): #\w+;", (static / name).read_text("utf-8"))
        for name in ("common.css", "app.css", "player.css")
    )
    assert all(common.count(name) == 2 for name in common)  # light and dark
    assert not set(common) & set(app + player)
