from __future__ import annotations

import importlib.util
import json
import re
import struct
from pathlib import Path

import mutagen
import numpy as np
import pytest
from helpers.files import RATE, snr, write

from openunmix.audio import AudioSource, probe, read_audio, write_stem_mp4
from openunmix.errors import AudioFileError

LENGTH = 100003
NAMES = ("drums", "bass", "other", "vocals")


def stem(seed: int, length: int = LENGTH, channels: int = 2) -> np.ndarray:
    """Noise below 1.5 kHz in bursts, so that a shift by one sample shows."""
    generator = np.random.default_rng(seed)
    spectrum = np.fft.rfft(generator.standard_normal((channels, length)))
    spectrum[:, length * 1500 // RATE :] = 0
    noise = np.fft.irfft(spectrum, length)
    return (0.2 * noise * (1 + np.sin(np.arange(length) / (3000 + 500 * seed)))).astype(np.float32)


@pytest.fixture
def tracks(tmp_path) -> dict[str, np.ndarray]:
    """Four stems and their sum, written as mixture.wav, drums.wav ..."""
    blocks = {name: stem(seed) for seed, name in enumerate(NAMES)}
    blocks = {"mixture": np.sum(list(blocks.values()), axis=0), **blocks}
    for name, block in blocks.items():
        write(tmp_path / f"{name}.wav", block)
    return blocks


def atoms(data: bytes) -> dict[bytes, bytes]:
    """The first atom of every type."""
    found, offset = {}, 0
    while offset < len(data):
        size, kind = struct.unpack_from(">I4s", data, offset)
        found.setdefault(kind, data[offset + 8 : offset + size])
        offset += size
    return found


def stem_json(path: Path) -> dict:
    content = atoms(atoms(atoms(path.read_bytes())[b"moov"])[b"udta"])[b"stem"]
    return json.loads(content)


def test_every_stream_is_its_stem_sample_for_sample(tmp_path, tracks):
    path = tmp_path / "a.stem.mp4"
    stems = {name: tmp_path / f"{name}.wav" for name in NAMES}
    write_stem_mp4(path, tmp_path / "mixture.wav", stems)
    assert probe(path).streams == 5
    assert probe(path).samples == LENGTH
    for stream, block in enumerate(tracks.values()):
        values = read_audio(path, stream=stream).waveform.numpy()
        assert values.shape == (2, LENGTH)
        assert snr(block, values) > 20
        for shift in (-1, 1):
            assert snr(block, np.roll(values, shift, axis=1)) < snr(block, values) - 6
    excerpt = read_audio(path, start=0.7, duration=0.3, stream=4).waveform.numpy()
    first = round(0.7 * RATE)
    np.testing.assert_array_equal(excerpt, values[:, first : first + round(0.3 * RATE)])


def test_default_stream_is_the_mixture_and_the_only_enabled_one(tmp_path, tracks):
    path = tmp_path / "a.stem.mp4"
    stems = {name: tmp_path / f"{name}.wav" for name in NAMES}
    write_stem_mp4(path, tmp_path / "mixture.wav", stems)
    assert snr(tracks["mixture"], read_audio(path).waveform.numpy()) > 20
    moov = atoms(path.read_bytes())[b"moov"]
    headers = [place.end() for place in re.finditer(b"tkhd", moov)]
    enabled = [bool(moov[place + 3] & 1) for place in headers]
    assert enabled == [True, False, False, False, False]


def test_metadata_names_and_colours_the_stems(tmp_path, tracks):
    path = tmp_path / "a.stem.mp4"
    stems = {name: tmp_path / f"{name}.wav" for name in NAMES}
    write_stem_mp4(path, tmp_path / "mixture.wav", stems)
    content = stem_json(path)
    assert content["version"] == 1
    assert [entry["name"] for entry in content["stems"]] == list(NAMES)
    assert [entry["color"] for entry in content["stems"]] == [
        "#009E73",
        "#D55E00",
        "#CC79A7",
        "#56B4E9",
    ]
    assert set(content["mastering_dsp"]) == {"compressor", "limiter"}
    assert not any(unit["enabled"] for unit in content["mastering_dsp"].values())


def test_tags_and_stem_metadata_live_side_by_side(tmp_path, tracks):
    source = write(tmp_path / "t.flac", tracks["mixture"])
    file = mutagen.File(source)
    file.tags["title"] = "Ode"
    file.save()
    path = tmp_path / "a.stem.mp4"
    write_stem_mp4(path, source, {"drums": tmp_path / "drums.wav"}, tags_from=source)
    assert mutagen.File(path).tags["\xa9nam"] == ["Ode"]
    assert stem_json(path)["stems"][0]["name"] == "drums"
    assert snr(tracks["drums"], read_audio(path, stream=1).waveform.numpy()) > 20


def test_excerpts_mono_and_short_stems_are_taken(tmp_path):
    mixture = write(tmp_path / "m.wav", stem(0))
    short = write(tmp_path / "s.flac", stem(1, 5000, 1))
    path = tmp_path / "a.stem.mp4"
    write_stem_mp4(path, AudioSource(mixture, start=0.5), {"a": mixture, "b": short})
    first, _, last = (read_audio(path, stream=k).waveform.numpy() for k in range(3))
    assert first.shape == last.shape == (2, LENGTH)
    begin = round(0.5 * RATE)
    assert snr(stem(0)[:, begin:], first[:, : LENGTH - begin]) > 20
    assert snr(np.repeat(stem(1, 5000, 1), 2, axis=0), last[:, :5000]) > 10
    assert np.abs(last[:, 8000:]).max() < 1e-3


def test_rates_that_aac_cannot_hold_are_converted(tmp_path):
    mixture = write(tmp_path / "m.wav", stem(0), 192000)
    write_stem_mp4(tmp_path / "a.stem.mp4", mixture, {"a": mixture})
    clip = read_audio(tmp_path / "a.stem.mp4", stream=1)
    assert clip.sample_rate == 96000
    assert clip.waveform.shape == (2, round(LENGTH / 2))


def test_stem_at_another_rate_is_an_error_and_leaves_nothing(tmp_path):
    mixture, other = write(tmp_path / "m.wav", stem(0)), write(tmp_path / "o.wav", stem(1), 48000)
    with pytest.raises(AudioFileError, match=r"o\.wav' has 48000 Hz"):
        write_stem_mp4(tmp_path / "a.stem.mp4", mixture, {"a": other})
    assert sorted(tmp_path.iterdir()) == [mixture, other]


def test_damaged_stem_is_named_and_leaves_nothing(tmp_path):
    mixture, other = write(tmp_path / "m.wav", stem(0)), write(tmp_path / "o.flac", stem(1))
    content = other.read_bytes()
    other.write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioFileError, match=r"o\.flac"):
        write_stem_mp4(tmp_path / "a.stem.mp4", mixture, {"a": other})
    assert sorted(tmp_path.iterdir()) == [mixture, other]


def test_full_disk_is_an_error_and_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    mixture = write(tmp_path / "m.wav", stem(0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50000, hard))
        with pytest.raises(AudioFileError, match=r"a\.stem\.mp4' could not be written"):
            write_stem_mp4(tmp_path / "a.stem.mp4", mixture, {"a": mixture})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [mixture]


def test_without_stems_there_is_no_stem_file(tmp_path):
    with pytest.raises(ValueError, match="stems is empty"):
        write_stem_mp4(tmp_path / "a.stem.mp4", tmp_path / "m.wav", {})


def test_published_stem_file_is_read_stream_by_stream():
    """The mixture of stempeg's example is the sum of its stems, but for the coding."""
    spec = importlib.util.find_spec("stempeg")
    folders = [Path(spec.origin).parent / "data"] if spec and spec.origin else []
    files = [path for folder in folders for path in folder.glob("*.stem.mp4")]
    if not files:
        pytest.skip("stempeg is not installed")
    waveforms = [
        read_audio(files[0], stream=k).waveform.numpy() for k in range(probe(files[0]).streams)
    ]
    assert len(waveforms) == 5
    mixture, *stems = waveforms
    assert snr(mixture, np.sum(stems, axis=0)) > 10


def test_gain_is_that_of_every_stream(tmp_path, tracks):
    path = tmp_path / "a.stem.mp4"
    write_stem_mp4(path, tmp_path / "mixture.wav", {"drums": tmp_path / "drums.wav"}, gain=0.25)
    for stream, name in enumerate(("mixture", "drums")):
        assert snr(0.25 * tracks[name], read_audio(path, stream=stream).waveform.numpy()) > 20
