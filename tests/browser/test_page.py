"""The page that separates in the browser, in Chromium and Firefox. `make site` builds it."""

from __future__ import annotations

import base64
import importlib.util
import io
import logging
import os
import re
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers.files import snr
from helpers.web_server import wait_for

from openunmix import predict
from openunmix.audio import read_audio
from openunmix.web._document import _spectrogram, _waveform
from openunmix.web._pictures import Picture
from openunmix.web._stems import EncodedStem

pytestmark = pytest.mark.browser

RATE = 44100
TARGETS = ["vocals", "drums", "bass", "other"]


@pytest.fixture(scope="session")
def song():
    """Return the real song in the package stempeg, six seconds of stereo (channels, samples)."""
    package = importlib.util.find_spec("stempeg")
    folder = Path(package.submodule_search_locations[0], "data")
    return read_audio(next(folder.glob("*.stem.mp4"))).waveform


@pytest.fixture
def songs(song, tmp_path):
    """Return a function that writes a part of the song, and gives the file."""

    def write(seconds=3.0, name="song.wav", channels=2, rate=RATE):
        path = tmp_path / name
        samples = song[:channels, : int(seconds * RATE)].T.numpy()
        soundfile.write(path, samples, rate, subtype="FLOAT")
        return path

    return write


@pytest.fixture
def ready(page, site):
    """Return a function that opens the page and waits until it takes songs."""

    def open_page(query=""):
        page.goto(site.url + query)
        page.locator("#files:enabled").wait_for(state="attached")
        return page

    return open_page


def view(tab):
    return tab.evaluate("document.body.dataset.view")


def problem(tab):
    """Wait for a message, and return it."""
    message = tab.get_by_role("alert")
    message.wait_for()
    return message.inner_text()


def separated(tab, file):
    """Separate a file; return the frame with the player."""
    tab.set_input_files("#files", file)
    tab.locator("#result").wait_for()
    tab.wait_for_timeout(500)
    frame = tab.frame(url="**/player.html")
    frame.get_by_text("Ready").wait_for()
    return frame


def stems_of(download, tab):
    """Save all stems; return them (channels, samples) by name."""
    path, name = download(tab, tab.get_by_role("button", name="Save all"))
    assert re.fullmatch(r"song(\(\d\))?\.zip", name)  # Firefox counts where there is one already
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {
            Path(entry).stem: soundfile.read(io.BytesIO(archive.read(entry)), always_2d=True)[0].T
            for entry in archive.namelist()
        }


def test_stems_are_those_of_the_package(ready, songs, song, download):
    """In 16 bit, from float16; the package sees the whole song at once, the page 12 s more."""
    tab = ready("?precision=float16")
    frame = separated(tab, songs(seconds=6.0))
    stems = stems_of(download, tab)
    assert list(stems) == TARGETS
    length = int(6.0 * RATE)
    package = predict.separate(song[:, :length], RATE, model_str_or_path="umxs")
    for name, stem in stems.items():
        assert stem.shape == (2, length)
        assert snr(package[name][0].numpy(), stem) > 40, name
    state = frame.evaluate("player.state()")
    assert [stem["name"] for stem in state["stems"]] == TARGETS
    assert frame.evaluate(
        "player.render(4).then((buffer) => buffer.getChannelData(1)[RATE])".replace(
            "RATE", str(RATE)
        )
    ) == pytest.approx(float(song[1, RATE]), abs=1e-4)  # the original
    assert "float16" in frame.locator("#details").inner_text()
    path, name = download(tab, frame.get_by_role("link", name="Download bass"))
    assert name == "song - bass.wav"
    assert np.array_equal(soundfile.read(path)[0].T, stems["bass"])


def pixels(picture):
    values = np.frombuffer(zlib.decompress(base64.b64decode(picture["data"])), np.uint8)
    return values.reshape(picture["rows"], picture["columns"]).astype(int)


def test_pictures_are_those_of_the_package(ready, songs, song, download):
    tab = ready()
    separated(tab, songs())
    tracks = tab.evaluate("playerData.tracks")
    signals = [*stems_of(download, tab).values(), song[:, : 3 * RATE].numpy()]
    drawn = []
    for track, signal in zip(tracks, signals, strict=True):
        picture = Picture(RATE, 3.0)
        picture.add(signal.astype(np.float32))
        picture.finish()
        drawn.append(EncodedStem(track["name"], Path(), RATE, picture))
    peak = max(stem.picture.waveform()[0].max() for stem in drawn)
    loudest = max(stem.picture.spectrogram().max() for stem in drawn)
    for track, stem in zip(tracks, drawn, strict=True):
        waveform, spectrogram = _waveform(stem, peak), _spectrogram(stem, loudest)
        # But for 16 bit, and the quantisation of the spectrogram by steps of 4.
        assert np.abs(pixels(track["waveform"]) - pixels(waveform)).max() <= 1
        assert np.abs(pixels(track["spectrogram"]) - pixels(spectrogram)).mean() < 0.5


def test_mono_stays_mono(ready, songs, download):
    tab = ready()
    separated(tab, songs(channels=1))
    stems = stems_of(download, tab)
    assert {stem.shape for stem in stems.values()} == {(1, 3 * RATE)}


def test_other_rates_are_resampled(ready, songs, download):
    tab = ready()
    separated(tab, songs(rate=22050))  # six seconds, an octave lower
    stems = stems_of(download, tab)
    assert {stem.shape for stem in stems.values()} == {(2, 6 * RATE)}


def test_a_file_without_audio_is_refused_and_another_can_be_chosen(ready, songs, tmp_path):
    tab = ready()
    text = tmp_path / "notes.txt"
    text.write_text("no music")
    tab.set_input_files("#files", text)
    assert problem(tab).startswith("notes.txt: the browser finds no audio in it")
    assert view(tab) == "choose"
    separated(tab, songs(0.2))
    assert tab.get_by_role("alert").is_hidden()


def test_cancel(ready, songs):
    tab = ready()
    tab.set_input_files("#files", songs(6.0))
    tab.get_by_role("button", name="Cancel").click()
    tab.locator("#drop").wait_for()
    assert view(tab) == "choose"
    separated(tab, songs(0.2, "another.wav"))
    assert tab.frame(url="**/player.html").locator("h1").inner_text() == "another"
    tab.get_by_role("button", name="Another song").click()
    assert view(tab) == "choose"


def test_a_browser_without_simd_is_told(page, site):
    page.add_init_script("WebAssembly.validate = () => false")
    page.goto(site.url)
    assert "no WebAssembly with SIMD" in problem(page)
    assert page.locator("#files").is_disabled()


def test_too_little_memory_is_told(ready, songs):
    tab = ready()
    fails = "OfflineAudioContext.prototype.decodeAudioData = async () => new Float32Array(1e15)"
    tab.evaluate(f"() => {{ {fails} }}")
    tab.set_input_files("#files", songs(0.2))
    assert problem(tab).startswith("The browser ran out of memory")


def test_page_asks_only_its_server_and_works_offline_then(ready, songs, site):
    tab = ready()
    asked = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.evaluate("navigator.serviceWorker.ready.then(() => undefined)")
    site.shutdown()
    site.server_close()
    tab.reload()
    tab.locator("#files:enabled").wait_for(state="attached")
    separated(tab, songs(0.2))
    assert all(url.startswith((site.url, "blob:", "data:")) for url in asked)


def test_page_says_licence_and_privacy(ready):
    text = ready().locator("body").inner_text()
    assert "research and personal, non-commercial use" in text
    assert "sends nothing anywhere" in text


@pytest.mark.parametrize("width", [360, 1200])
def test_page_fits(ready, songs, width):
    tab = ready()
    tab.set_viewport_size({"width": width, "height": 700})
    frame = separated(tab, songs(0.2))
    for document in (tab, frame):
        element = "document.documentElement"
        assert document.evaluate(f"{element}.scrollWidth <= {element}.clientWidth")


FILES_ON_DISK = """async () => {
  const names = [];
  for await (const [name, folder] of (await navigator.storage.getDirectory()).entries()) {
    for await (const file of folder.keys()) names.push(name + "/" + file);
  }
  return names;
}"""


def test_stems_on_disk_are_removed_when_they_are_not_needed(ready, songs):
    tab = ready()
    separated(tab, songs(0.2))
    assert len(tab.evaluate(FILES_ON_DISK)) == len(TARGETS) + 1  # and the original
    tab.get_by_role("button", name="Another song").click()
    wait_for(lambda: not tab.evaluate(FILES_ON_DISK))
    separated(tab, songs(0.2))
    tab.reload()
    tab.locator("#files:enabled").wait_for(state="attached")
    assert not tab.evaluate(FILES_ON_DISK)


def test_without_a_file_system_stems_are_in_memory(page, site, songs, song, download):
    fails = "navigator.storage.getDirectory = () => Promise.reject(new Error('none'))"
    page.add_init_script(f"if (navigator.storage) {fails}")
    page.goto(site.url)
    page.locator("#files:enabled").wait_for(state="attached")
    separated(page, songs(1.0))
    assert sum(stems_of(download, page).values()) == pytest.approx(song[:, :RATE].numpy(), abs=0.05)


def test_loud_stems_are_scaled_together(ready, song, tmp_path, download):
    """Parts that were written before the loudest one are scaled again."""
    path = tmp_path / "song.wav"
    samples = torch.cat([song, 30 * song, song], dim=1).T.numpy()
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    tab = ready()
    frame = separated(tab, path)
    scale = float(re.search(r"scaled by ([\d.]+) to", frame.locator("#details").inner_text())[1])
    total = sum(stems_of(download, tab).values())
    assert scale < 0.5
    assert snr(scale * samples.T, total) > 15


def private_memory():
    """Return the private memory, in bytes, of the processes that this one started, by number."""
    parents, sizes = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            status = (folder / "status").read_text()
            parents[int(folder.name)] = int(re.search(r"PPid:\s+(\d+)", status)[1])
            found = re.search(r"RssAnon:\s+(\d+)", status)
            sizes[int(folder.name)] = 1024 * int(found[1]) if found else 0

    def is_ours(number):
        while number and number != os.getpid():
            number = parents.get(number)
        return bool(number)

    return {number: size for number, size in sizes.items() if is_ours(number)}


def largest_tab():
    """Return the private memory, in bytes, of the largest process that shows pages."""
    sizes = [0]
    for number, size in private_memory().items():
        with suppress(OSError):
            command = Path(f"/proc/{number}/cmdline").read_bytes()
            if b"--type=renderer" in command or b"-contentproc" in command:
                sizes.append(size)
    return max(sizes)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_ten_minutes_are_separated_and_played_in_little_memory(browser, ready, song, tmp_path):
    path = tmp_path / "long.wav"
    samples = torch.cat([song] * 99, dim=1)[:, : 600 * RATE]
    soundfile.write(path, samples.T.numpy(), RATE, subtype="PCM_16")
    tab = ready()
    tab.set_input_files("#files", path)
    sizes = []

    def measured(pause):
        tab.wait_for_timeout(pause)
        sizes.append(largest_tab())
        return True

    while view(tab) != "result":
        assert tab.get_by_role("alert").is_hidden()
        measured(500)
    frame = wait_for(lambda: measured(200) and tab.frame(url="**/player.html"))
    while frame.locator("#status").inner_text() != "Ready":
        measured(200)
    assert frame.evaluate("player.state()")["duration"] == 600
    frame.get_by_role("button", name="Play").click()

    def plays_from(second):
        frame.evaluate(f"player.seek({second})")
        wait_for(lambda: measured(200) and frame.evaluate("player.state().position") > second + 5)
        return max(frame.evaluate("player.levels()")) > 0.01

    assert all(plays_from(second) for second in (0, 300, 580))
    logging.info("largest: %d MB", max(sizes) / 1e6)  # shown with --log-cli-level=INFO
    assert max(sizes) < 1e9
