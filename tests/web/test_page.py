"""The page as a file: what is in it, what is beside it, and what it refuses."""

from __future__ import annotations

import base64
import io
import json
import re
import zlib

import numpy as np
import pytest
import soundfile
import torch
from helpers.sounds import noise, panned, tone
from hypothesis import given, settings
from hypothesis import strategies as st

from openunmix.audio import AudioSource, AudioWriter
from openunmix.errors import AudioFileError
from openunmix.web import show, write_page
from openunmix.web._pictures import BANDS, LOWEST, Picture, highest
from openunmix.web.notebook import StemPlayer

RATE = 44100


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a waveform as a WAV."""

    def write_wav(name, waveform, sample_rate=RATE):
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, waveform.T.numpy(), sample_rate, subtype="FLOAT")
        return path

    return write_wav


def data_of(path):
    """Return what the page's script is told."""
    text = path.read_text("utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def picture_of(track, kind):
    picture = track[kind]
    pixels = zlib.decompress(base64.b64decode(picture["data"]))
    return np.frombuffer(pixels, np.uint8).reshape(picture["rows"], picture["columns"])


def audio_of(path):
    """Return the waveforms in the page, (channels, samples), at 48 kHz."""
    encoded = re.findall(r'id="audio-\d+">([^<]*)<', path.read_text("utf-8"))
    files = [io.BytesIO(base64.b64decode(text)) for text in encoded]
    return [soundfile.read(file, always_2d=True)[0].T for file in files]


def test_page_has_everything_in_it(write, tmp_path):
    stems = {"a": write("a", tone(RATE, 440.0, RATE)), "b": write("b", noise(RATE))}
    path = write_page(
        tmp_path / "new" / "page",
        stems,
        title="A song",
        details={"Model": "umxs"},
        downloads={"a": "a%20b.wav"},
    )
    assert path == tmp_path / "new" / "page" / "index.html"
    assert [file.name for file in path.parent.iterdir()] == ["index.html"]
    data = data_of(path)
    assert (data["title"], data["sampleRate"], data["samples"]) == ("A song", RATE, RATE)
    assert [track["name"] for track in data["tracks"]] == ["a", "b"]
    assert [track["download"] for track in data["tracks"]] == ["a%20b.wav", None]
    assert data["original"] is None
    assert ["Model", "umxs"] in data["details"]
    assert [audio.shape for audio in audio_of(path)] == [(2, 48000)] * 2


def test_four_minutes_of_four_stems_and_the_original_fit(write, tmp_path):
    """Noise is the hardest to encode; the pictures do not grow with the song."""
    seconds = 6
    stems = {name: write(name, noise(seconds * RATE, seed=ord(name))) for name in "abcd"}
    path = write_page(tmp_path, stems, title="x", mixture=stems["a"])
    audio = sum(len(text) for text in re.findall(r'id="audio-\d+">([^<]*)<', path.read_text()))
    assert path.stat().st_size - audio + audio * 240 / seconds < 25e6


def test_long_songs_are_beside_the_page_and_old_files_go(write, tmp_path, monkeypatch):
    stems = {name: write(name, noise(RATE, seed=ord(name))) for name in "ab"}
    monkeypatch.setattr("openunmix.web.page.MAX_AUDIO_SIZE", 10_000)
    folder = tmp_path / "page"
    path = write_page(folder, stems, title="x")
    first = {track["sidecar"] for track in data_of(path)["tracks"]}
    assert first == {file.name for file in folder.glob("*.js")}
    assert audio_of(path) == []
    (folder / "index-audio-mine.js").write_text("not ours")
    write_page(folder, {"a": stems["b"]}, title="x")
    (second,) = data_of(path)["tracks"]
    assert {file.name for file in folder.glob("*.js")} == {second["sidecar"], "index-audio-mine.js"}
    assert second["sidecar"] not in first


@pytest.mark.parametrize(
    "name", ["</script><!--", "a\"'&<>\u2028", "\udc80undecodable", "{{audio}}", "声"]
)
def test_hostile_names_stay_data(write, tmp_path, name):
    stems = {name: write("a", tone(1000))}
    path = write_page(tmp_path, stems, title=name, details={name: name})
    assert [track["name"] for track in data_of(path)["tracks"]] == [name]
    assert path.read_text("utf-8").count("<script") == 3  # the data, the player, the audio


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "https://example.org/a.wav", "//example.org/a", "a b.wav", ""]
)
def test_downloads_that_leave_the_folder_are_refused(write, tmp_path, url):
    stems = {"a": write("a", tone(1000))}
    with pytest.raises(ValueError, match="give a relative URL"):
        write_page(tmp_path, stems, title="x", downloads={"a": url})
    assert not (tmp_path / "index.html").exists()


def test_downloads_of_other_stems_are_refused(write, tmp_path):
    with pytest.raises(ValueError, match="'b', which is not one of a"):
        write_page(tmp_path, {"a": write("a", tone(10))}, title="x", downloads={"b": "b.wav"})


def test_page_without_stems_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no stems"):
        write_page(tmp_path, {}, title="x")


def test_failure_leaves_the_page_that_was_there(write, tmp_path):
    folder = tmp_path / "page"
    path = write_page(folder, {"a": write("a", tone(1000))}, title="before")
    before = path.read_bytes()
    with pytest.raises(AudioFileError, match=r"missing\.wav"):
        write_page(folder, {"a": tmp_path / "missing.wav"}, title="after")
    damaged = tmp_path / "damaged.wav"
    damaged.write_bytes(b"RIFF but no more")
    with pytest.raises(AudioFileError, match=r"damaged\.wav"):
        write_page(folder, {"a": damaged}, title="after")
    assert path.read_bytes() == before
    assert list(folder.iterdir()) == [path]


def test_folder_that_cannot_be_made_is_named(write, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AudioFileError, match=r"file.*cannot be written"):
        write_page(tmp_path / "file" / "page", {"a": write("a", tone(10))}, title="x")


@pytest.mark.parametrize("rate", [4000, RATE, 192000])
def test_one_sample_makes_a_page(write, tmp_path, rate):
    data = data_of(write_page(tmp_path, {"a": write("a", tone(1), rate)}, title="x"))
    assert 8000 <= data["sampleRate"] <= 48000
    assert data["samples"] in (1, 2)  # of 4 kHz, played at 8 kHz
    assert picture_of(data["tracks"][0], "waveform").shape == (2, 1)


def test_silence_is_drawn_as_silence(write, tmp_path):
    stems = {"silent": write("silent", torch.zeros(2, RATE)), "tone": write("tone", tone(RATE))}
    silent, sounding = data_of(write_page(tmp_path, stems, title="x"))["tracks"]
    for kind in ("waveform", "spectrogram"):
        assert picture_of(silent, kind).max() == 0
        assert picture_of(sounding, kind).max() > 250


def test_mono_stays_mono_and_5_1_becomes_stereo(write, tmp_path):
    stems = {
        "mono": write("mono", tone(RATE, channels=1)),
        "surround": write("surround", tone(RATE, channels=6)),
    }
    path = write_page(tmp_path, stems, title="x")
    assert [len(audio) for audio in audio_of(path)] == [1, 2]


def test_original_is_the_part_that_was_separated_at_the_level_of_the_stems(write, tmp_path):
    song = torch.cat([torch.zeros(2, RATE), tone(RATE, 440.0, RATE), torch.zeros(2, RATE)], dim=1)
    mixture = AudioSource(write("song", song), start=1.0, duration=1.0)
    path = write_page(
        tmp_path, {"a": write("a", tone(RATE))}, title="x", mixture=mixture, mixture_gain=0.5
    )
    assert data_of(path)["original"] == 1
    original = audio_of(path)[1]
    assert original.shape == (2, 48000)
    assert np.abs(original[:, 1000:-1000]).max() == pytest.approx(0.25, abs=0.01)


def test_lossy_stems_of_another_rate_are_read(tmp_path):
    with AudioWriter(tmp_path / "a.mp3", 22050, 2) as writer:
        writer.write(tone(22050, 440.0, 22050))
    data = data_of(write_page(tmp_path, {"a": tmp_path / "a.mp3"}, title="x"))
    assert (data["sampleRate"], data["samples"]) == (22050, 22050)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.integers(0, 3000), min_size=1, max_size=5).filter(sum),
    st.floats(0.01, 400),
)
def test_pictures_do_not_depend_on_the_blocks(lengths, duration):
    waveform = noise(sum(lengths)).numpy()
    whole, parts = Picture(8000, duration), Picture(8000, duration)
    whole.add(waveform)
    for block in np.split(waveform, np.cumsum(lengths)[:-1], axis=1):
        parts.add(block)
    for picture in (whole, parts):
        picture.finish()
    assert parts.waveform() == pytest.approx(whole.waveform(), abs=1e-6)
    assert parts.spectrogram() == pytest.approx(whole.spectrogram(), abs=1e-2)
    for values, hop in (
        (whole.waveform(), whole.hop),
        (whole.spectrogram(), whole.spectrogram_hop),
    ):
        assert values.shape[1] == -(-sum(lengths) // hop)


@pytest.mark.parametrize("frequency", [55.0, 440.0, 3000.0, 12000.0])
def test_full_tone_is_drawn_at_its_pitch_with_0_db(frequency):
    picture = Picture(RATE, 3.0)
    picture.add(tone(3 * RATE, frequency, RATE, amplitude=1.0).numpy())
    picture.finish()
    spectrum = picture.spectrogram()[:, 200:600].mean(axis=1)
    expected = BANDS * np.log(frequency / LOWEST) / np.log(highest(RATE) / LOWEST)
    # Bins are 10.8 Hz wide: the lowest bands are finer than that, and share the power.
    assert abs(np.argmax(spectrum) - expected) < (6 if frequency < 100 else 1.5)
    assert 10 * np.log10((10 ** (spectrum / 10)).sum()) == pytest.approx(0, abs=0.5)


def test_waveform_is_peak_and_root_mean_square_of_the_louder_channel():
    picture = Picture(RATE, 3.0)
    picture.add(panned(tone(RATE, 1000.0, RATE, amplitude=1.0), 1.0).numpy())
    picture.finish()
    peak, mean = picture.waveform()[:, 5:-5]
    assert peak == pytest.approx(1.0, abs=0.02)
    assert mean == pytest.approx(0.5, abs=0.03)  # of a sine in one of two channels


def test_notebooks_get_a_frame_with_the_whole_page():
    shown = show({"a": tone(RATE), "b": noise(RATE)[None].numpy()}, title='"quoted" & <b>')
    frame = shown._repr_html_()
    assert isinstance(shown, StemPlayer)
    assert frame.startswith("<iframe")
    assert frame.count("<") == 2
    assert "StemPlayer(" in repr(shown)
    assert len(repr(shown)) < 100


@pytest.mark.parametrize("shape", [(2, 2, 100), (2, 0)])
def test_notebook_refuses_what_is_no_waveform(shape):
    with pytest.raises(ValueError, match=r"'a' has the shape .* expected \(channels, samples\)"):
        show({"a": torch.zeros(shape)})
