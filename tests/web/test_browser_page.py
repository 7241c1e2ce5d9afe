"""The page in browsers, opened from the disk as a user does."""

from __future__ import annotations

import base64
import io
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
import soundfile
from helpers.files import snr
from helpers.sounds import tone
from helpers.web_server import wait_for

from openunmix.audio import read_audio
from openunmix.web import show, write_page

pytestmark = pytest.mark.browser

RATE = 44100
LENGTH = 2 * RATE
TONES = {"low": 300.0, "middle": 1000.0, "high": 3000.0}
SUM = 0.507  # largest sample of the three together, each of amplitude 0.2


@pytest.fixture
def stems(tmp_path):
    """Write a tone a stem, and return the files by name."""
    files = {}
    for name, frequency in TONES.items():
        files[name] = tmp_path / f"{name}.wav"
        waveform = tone(LENGTH, frequency, RATE, amplitude=0.2)
        soundfile.write(files[name], waveform.T.numpy(), RATE, subtype="FLOAT")
    return files


@pytest.fixture
def player(page, stems, tmp_path):
    """Return a function that opens a page of the stems and waits until it can play."""

    def open_page(**settings):
        path = write_page(tmp_path / "page", stems, title="Three tones", **settings)
        page.goto(path.as_uri())
        page.evaluate("player.ready")
        return page

    return open_page


def state(tab):
    return tab.evaluate("player.state()")


def rendered(tab, what="player.render()"):
    """Return a promised AudioBuffer of the page as an array (channels, samples)."""
    script = f"""{what}.then((buffer) => new Promise((resolve) => {{
        const reader = new FileReader();
        reader.onload = () => resolve(reader.result);
        reader.readAsDataURL(player.wav(buffer));
    }}))"""
    content = base64.b64decode(tab.evaluate(script).partition(",")[2])
    return soundfile.read(io.BytesIO(content))[0].T


def amplitudes(waveform):
    """Return the amplitude of each tone in the first channel."""
    spectrum = 2 * np.abs(np.fft.rfft(waveform[0])) / waveform.shape[1]
    return [round(float(spectrum[round(f * waveform.shape[1] / RATE)]), 2) for f in TONES.values()]


def wait_until(tab, condition):
    """Wait for a condition in JavaScript; what Playwright has for that, the page's policy stops."""
    for _ in range(100):
        if tab.evaluate(condition):
            return
        tab.wait_for_timeout(100)
    raise AssertionError(f"waited in vain for {condition}")


def loudest(tab):
    """Return the loudest sample that the page plays within some tenths of a second."""
    wait_until(tab, "player.state().playing")
    tab.wait_for_timeout(300)
    return max(tab.evaluate("player.levels()"))


def test_page_draws_and_plays_all_stems(player):
    tab = player()
    drawn = "[...document.querySelectorAll('canvas')].map((c) => c.getContext('2d').getImageData(0,"
    drawn += " c.height / 2, c.width, 1).data.filter((v, i) => i % 4 === 3 && v > 0).length)"
    assert all(count > 500 for count in tab.evaluate(drawn))
    tab.get_by_role("button", name="Play").click()
    assert loudest(tab) == pytest.approx(SUM, abs=0.03)
    assert 0.1 < state(tab)["position"] < 2
    tab.get_by_role("button", name="Pause").click()
    before = state(tab)["position"]
    tab.wait_for_timeout(200)
    assert state(tab)["position"] == before
    assert state(tab)["playing"] is False


def test_remix_is_the_sum_of_the_stems_to_the_sample(player):
    tab = player()
    files = [rendered(tab, f"player.render({number})") for number in range(3)]
    assert rendered(tab) == pytest.approx(sum(files), abs=1e-5)
    assert [file.shape for file in files] == [(2, LENGTH)] * 3
    assert amplitudes(rendered(tab)) == [0.2, 0.2, 0.2]


# Playback, from a position, as the first seconds of an OfflineAudioContext; pieces of two seconds.
PLAYED = """(async () => {
  live = buildGraph(new OfflineAudioContext(2, 5 * data.sampleRate, data.sampleRate));
  Object.assign(state, { loop: LOOP, looping: LOOP !== null });
  restart(FROM);
  while (pieces.length < 3) await new Promise((done) => setTimeout(done, 20));
  return live.context.startRendering();
})()"""


@pytest.mark.parametrize("loop", [None, (0.5, 3.5), (2.0, 2.06)])
def test_pieces_of_playback_join_to_the_sample(page, tmp_path, loop):
    files = {}
    for channels in (1, 2):
        files[f"noise {channels}"] = path = tmp_path / f"{channels}.wav"
        noise = 0.1 * np.random.default_rng(channels).standard_normal((7 * RATE, channels))
        soundfile.write(path, noise, RATE)
    page.goto(write_page(tmp_path / "page", files, title="x").as_uri())
    page.evaluate("player.ready")
    whole = rendered(page)
    assert whole == pytest.approx(
        sum(rendered(page, f"player.render({n})") for n in (0, 1)), abs=1e-5
    )
    where = "null" if loop is None else f"{{ start: {loop[0]}, end: {loop[1]} }}"
    played = rendered(page, PLAYED.replace("LOOP", where).replace("FROM", "2.01"))
    delay = round(0.02 * RATE)
    assert not played[:, :delay].any()
    start, end = (round(time * RATE) for time in loop or (0, 7))
    at = round(2.01 * RATE) + np.arange(5 * RATE - delay)
    at = np.where(at < end, at, start + (at - start) % (end - start))
    expected = whole[:, np.minimum(at, 7 * RATE - 1)]
    inside = slice(None) if loop else slice(0, 7 * RATE - round(2.01 * RATE))
    assert played[:, delay:][:, inside] == pytest.approx(expected[:, inside], abs=1e-5)


def test_solo_silences_the_others(player):
    tab = player()
    tab.get_by_role("button", name="Solo middle").click()
    assert amplitudes(rendered(tab)) == [0, 0.2, 0]
    assert tab.get_by_role("button", name="Solo middle").get_attribute("aria-pressed") == "true"
    tab.evaluate("player.play()")
    assert loudest(tab) == pytest.approx(0.2, abs=0.02)
    tab.get_by_role("button", name="Solo high").click()
    assert amplitudes(rendered(tab)) == [0, 0.2, 0.2]


def test_mute_volume_and_pan_are_heard(player):
    tab = player()
    tab.get_by_role("button", name="Mute low").click()
    tab.get_by_role("slider", name="Volume of middle").fill("-6")
    tab.get_by_role("slider", name="Pan of high").fill("100")
    left, right = rendered(tab)
    assert amplitudes(left[None]) == [0, 0.1, 0]
    assert amplitudes(right[None]) == [0, 0.1, 0.4]
    assert tab.get_by_role("slider", name="Volume of middle").get_attribute("aria-valuetext") == (
        "\N{MINUS SIGN}6.0 dB"
    )


def test_click_and_slider_seek(player):
    tab = player()
    lane = tab.locator(".lane").nth(1)
    box = lane.bounding_box()
    lane.click(position={"x": box["width"] / 4, "y": 20})
    assert state(tab)["position"] == pytest.approx(0.5, abs=0.02)
    tab.get_by_role("slider", name="Position").fill("1.5")
    assert state(tab)["position"] == pytest.approx(1.5, abs=0.02)
    assert tab.locator("#time").inner_text() == "0:01.5"


def test_drag_loops_a_region(player):
    tab = player()
    box = tab.locator(".lane").first.bounding_box()
    tab.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 20)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 30, steps=4)
    tab.mouse.up()
    assert state(tab)["loop"] == pytest.approx({"start": 1.0, "end": 1.5}, abs=0.02)
    tab.evaluate("player.play()")
    tab.wait_for_timeout(1300)
    assert 1.0 <= state(tab)["position"] < 1.52
    assert state(tab)["playing"] is True
    tab.get_by_role("button", name="Loop").click()
    wait_until(tab, "!player.state().playing")
    assert state(tab)["position"] == 0


def test_stems_of_unequal_length_stay_in_sync_when_looped(page, tmp_path):
    """The shorter one is silent after its end, and does not come around earlier."""
    files = {}
    for name, length in {"long": LENGTH, "short": LENGTH // 2}.items():
        files[name] = tmp_path / f"{name}.wav"
        soundfile.write(files[name], tone(length, 300.0, RATE).T.numpy(), RATE)
    page.goto(write_page(tmp_path / "page", files, title="x").as_uri())
    page.evaluate("player.ready")
    stems = [rendered(page, f"player.render({number})") for number in (0, 1)]
    assert [stem.shape for stem in stems] == [(2, LENGTH)] * 2


def test_original_is_heard_at_the_same_time_and_level(player, tmp_path):
    original = tmp_path / "original.wav"
    soundfile.write(original, tone(LENGTH, 500.0, RATE, amplitude=0.1).T.numpy(), RATE)
    tab = player(mixture=original)
    tab.evaluate("player.play()")
    assert loudest(tab) == pytest.approx(SUM, abs=0.03)
    before = state(tab)["position"]
    tab.get_by_role("button", name="Original", exact=True).click()
    assert 0 <= state(tab)["position"] - before < 1
    assert loudest(tab) == pytest.approx(0.1, abs=0.02)
    tab.get_by_role("button", name="Remix", exact=True).click()
    assert loudest(tab) == pytest.approx(SUM, abs=0.03)


def test_original_is_the_sum_of_the_stems_without_a_mixture(player):
    tab = player()
    tab.evaluate("player.set(0, {solo: true}); player.listenTo('original'); player.play()")
    assert loudest(tab) == pytest.approx(SUM, abs=0.03)


def test_clipping_is_shown(player):
    tab = player()
    assert tab.locator("#clip").is_hidden()
    tab.evaluate("[0, 1, 2].forEach((stem) => player.set(stem, {volume: 6})); player.play()")
    tab.locator("#clip").wait_for(state="visible")


def test_saved_stem_matches_the_file_but_for_what_opus_loses(player, stems, download):
    tab = player()
    path, name = download(tab, tab.get_by_role("link", name="Download high"))
    waveform = read_audio(path).waveform.numpy()
    assert name == "Three tones - high.wav"
    assert snr(read_audio(stems["high"]).waveform.numpy(), waveform) > 30


def test_lossless_file_can_be_had_from_a_disk(player, stems, browser, download):
    tab = player(downloads={name: f"../{path.name}" for name, path in stems.items()})
    link = tab.get_by_role("link", name="Download low")
    if browser.browser_type.name == "firefox":
        assert download(tab, link)[0].read_bytes() == stems["low"].read_bytes()
    else:  # Chromium saves nothing from a disk, but opens it
        with tab.expect_popup() as opened:
            link.click()
        opened.value.wait_for_url(stems["low"].as_uri())
    assert state(tab)["playing"] is False  # the page is still there


def test_lossless_file_is_saved_from_a_server(page, stems, download):
    folder = stems["low"].parent
    write_page(folder, stems, title="x", downloads={"low": "low.wav"})
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    handler.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
        path, _ = download(page, page.get_by_role("link", name="Download low"))
        assert path.read_bytes() == stems["low"].read_bytes()
        server.shutdown()


def test_saved_remix_is_what_is_heard(player, stems, download):
    tab = player()
    tab.evaluate("player.set(2, {mute: true})")
    path, name = download(tab, tab.get_by_role("button", name="Save remix"))
    waveform = read_audio(path).waveform.numpy()
    expected = sum(read_audio(stems[stem]).waveform.numpy() for stem in ("low", "middle"))
    assert name == "Three tones - remix.wav"
    assert snr(expected, waveform) > 30


def test_keys(player):
    tab = player()
    keyboard = tab.keyboard
    keyboard.press("2")
    assert [stem["solo"] for stem in state(tab)["stems"]] == [False, True, False]
    keyboard.press("Shift+1")
    assert [stem["mute"] for stem in state(tab)["stems"]] == [True, False, False]
    keyboard.press("a")
    assert state(tab)["source"] == "original"
    keyboard.press("s")
    assert state(tab)["view"] == "spectrogram"
    keyboard.press("End")
    keyboard.press("Shift+ArrowLeft")
    assert state(tab)["position"] == pytest.approx(1.0)
    keyboard.press("i")
    assert state(tab)["loop"] == pytest.approx({"start": 1.0, "end": 2.0})
    keyboard.press("Home")
    keyboard.press("Shift+ArrowRight")
    keyboard.press("o")
    assert state(tab)["loop"] == pytest.approx({"start": 0.0, "end": 1.0})
    keyboard.press("l")
    assert state(tab)["looping"] is False
    keyboard.press("0")
    assert state(tab)["loop"] is None
    assert not any(stem["solo"] or stem["mute"] for stem in state(tab)["stems"])
    keyboard.press("Space")
    wait_until(tab, "player.state().playing && player.state().position > 1.1")
    keyboard.press("Space")
    assert state(tab)["playing"] is False


def test_space_presses_the_button_that_was_reached_by_keyboard(player):
    tab = player()
    solo = tab.get_by_role("button", name="Solo low")
    solo.focus()
    tab.keyboard.press("Tab")
    tab.keyboard.press("Space")
    assert state(tab)["stems"][0]["mute"] is True
    assert state(tab)["playing"] is False


def test_screen_readers_are_told_what_changed(player):
    tab = player()
    assert tab.get_by_role("status").inner_text() == "Ready"
    tab.keyboard.press("3")
    assert tab.get_by_role("status").inner_text() == "high: solo on"


def test_every_control_has_a_name(player):
    tab = player()
    unnamed = "[...document.querySelectorAll('button, a, input, canvas')].filter((e) =>"
    unnamed += " !e.getAttribute('aria-label') && !e.textContent.trim()).map((e) => e.outerHTML)"
    assert tab.evaluate(unnamed) == []


def test_hostile_names_are_only_text(page, stems, tmp_path):
    name = "</script><script>window.hacked = 1</script><img src=x onerror=window.hacked=1>"
    path = write_page(
        tmp_path / "page", {name: stems["low"]}, title=name, details={name: name, "a": "&lt;"}
    )
    page.goto(path.as_uri())
    page.evaluate("player.ready")
    assert page.evaluate("window.hacked") is None
    assert page.title() == name
    assert page.locator("h1").inner_text() == name
    assert page.locator(".track .name").inner_text() == name
    assert "&lt;" in page.locator("#details").inner_text()


def test_long_songs_play_from_scripts_beside_the_page(player, monkeypatch):
    monkeypatch.setattr("openunmix.web.page.MAX_AUDIO_SIZE", 1000)
    tab = player()
    assert amplitudes(rendered(tab)) == [0.2, 0.2, 0.2]


def test_missing_script_is_said(page, stems, tmp_path, monkeypatch):
    monkeypatch.setattr("openunmix.web.page.MAX_AUDIO_SIZE", 1000)
    path = write_page(tmp_path / "page", stems, title="x")
    next(path.parent.glob("index-audio-1-*.js")).unlink()
    page.goto(path.as_uri())
    page.get_by_text("is missing beside this page").wait_for()
    page.console_errors.clear()


def test_page_fits_a_phone(player):
    tab = player()
    tab.set_viewport_size({"width": 360, "height": 700})
    width = tab.evaluate("document.documentElement.clientWidth")  # without a scroll bar
    assert width > 340
    assert tab.evaluate("document.documentElement.scrollWidth") == width


def test_page_asks_nothing_of_the_network(page, stems, tmp_path):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    path = write_page(tmp_path / "page", stems, title="x")
    page.goto(path.as_uri())
    page.evaluate("player.ready")
    page.evaluate("fetch('https://example.org').catch(() => 0)")
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)
    wait_for(lambda: page.wait_for_timeout(50) or page.console_errors)
    assert "default-src 'none'" in page.console_errors[0]  # the page's policy
    page.console_errors.clear()


def test_notebook_frame_plays(page, tmp_path):
    shown = show({"tone": tone(RATE, 300.0, RATE)}, RATE)
    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html><p>cell</p>{shown._repr_html_()}", "utf-8")
    page.goto(path.as_uri())
    frame = page.frames[1]
    frame.evaluate("player.ready")
    frame.get_by_role("button", name="Play").click()
    assert loudest(frame) == pytest.approx(0.5, abs=0.05)
