"""Every format: what is written is read, whole or in part."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.files import FORMATS, LENGTH, LOSSLESS, RATE, lag, music, read, snr, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openunmix import audio
from openunmix.audio.encoders import output_format


@pytest.mark.parametrize("extension", FORMATS)
def test_round_trip_keeps_length_position_and_sound(tmp_path, extension):
    rate = audio.supported_sample_rate(extension, RATE)
    block = music(rate=rate)
    path = write(tmp_path / f"a{extension}", block, rate)
    clip = audio.read_audio(path)
    assert clip.sample_rate == rate
    assert clip.waveform.dtype == torch.float32
    assert clip.waveform.shape == block.shape
    assert lag(block, clip.waveform.numpy()) == 0
    assert snr(block, clip.waveform.numpy()) > FORMATS[extension]


def test_opus_keeps_the_last_samples(tmp_path):
    block = music(rate=48000)
    end = audio.read_audio(write(tmp_path / "a.opus", block, 48000)).waveform.numpy()[:, -240:]
    assert snr(block[:, -240:], end) > 18


@pytest.mark.parametrize("channels", [1, 2])
def test_bit_rate_of_opus_can_be_chosen(tmp_path, channels):
    samples = np.random.default_rng(0).normal(0, 0.1, (channels, 10 * 48000))
    for bit_rate in (32_000 * channels, 96_000 * channels):
        path = tmp_path / f"{bit_rate}.opus"
        with audio.AudioWriter(path, 48000, channels, bit_rate=bit_rate) as writer:
            writer.write(samples)
        assert path.stat().st_size * 8 / 10 == pytest.approx(bit_rate, rel=0.15)


def test_bit_rate_of_other_formats_cannot_be_chosen(tmp_path):
    with pytest.raises(ValueError, match=r"\.mp3 has no choice of bit_rate"):
        audio.AudioWriter(tmp_path / "a.mp3", 44100, 2, bit_rate=128_000)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("extension", FORMATS)
def test_probe_agrees_with_what_is_read(tmp_path, extension):
    rate = audio.supported_sample_rate(extension, RATE)
    path = write(tmp_path / f"a{extension}", music(rate=rate, channels=1), rate)
    info = audio.probe(path)
    assert (info.sample_rate, info.channels) == (rate, 1)
    assert abs(info.samples - LENGTH) <= (rate // 10 if extension == ".mp3" else 0)
    assert info.duration == info.samples / rate
    assert info.streams == 1
    assert info.codec


@pytest.mark.parametrize(
    ("extension", "depth", "least"),
    [
        (".wav", "16", 80),
        (".wav", "24", 125),
        (".wav", "32f", 140),
        (".flac", "16", 80),
    ],
)
def test_depths_have_the_precision_of_their_word_length(tmp_path, extension, depth, least):
    path = write(tmp_path / f"a{extension}", music(), depth=depth)
    assert snr(music(), read(path)) > least


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("start", [0.0, 0.1234, 1.35])
def test_excerpt_equals_slice_of_the_whole(tmp_path, extension, start):
    """libsndfile's seeks in Vorbis are off by up to 0.4 of full scale."""
    path = write(tmp_path / f"a{extension}", music())
    whole, rate = audio.read_audio(path)
    first, length = round(start * rate), round(0.25 * rate)
    excerpt = audio.read_audio(path, start=start, duration=0.25).waveform
    torch.testing.assert_close(excerpt, whole[:, first : first + length], rtol=0, atol=0)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    length=st.integers(1, 3000),
    block=st.integers(1, 4000),
    first=st.integers(0, 2999),
    count=st.integers(1, 4000),
)
def test_blocks_join_to_the_excerpt(tmp_path, length, block, first, count):
    signal = music(length, 1)
    path = write(tmp_path / "a.wav", signal)
    first = min(first, length - 1)
    expected = signal[:, first : first + count]
    with audio.AudioReader(path, first / RATE, count / RATE, block=block) as reader:
        assert reader.length == expected.shape[1]
        blocks = list(reader)
    assert all(part.shape[1] == block for part in blocks[:-1])
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), expected)


@pytest.mark.parametrize("duration", [None, -1.0, 100.0])
def test_without_a_duration_or_with_a_long_one_everything_is_read(tmp_path, duration):
    path = write(tmp_path / "a.flac", music())
    assert read(path, start=1.0, duration=duration).shape[1] == LENGTH - RATE


def test_values_beyond_full_scale_survive_in_float_formats(tmp_path):
    block = 3 * music()
    np.testing.assert_array_equal(read(write(tmp_path / "a.wav", block)), block)
    assert np.abs(read(write(tmp_path / "a.ogg", block))).max() > 1.1


@pytest.mark.parametrize("extension", LOSSLESS)
@pytest.mark.parametrize("depth", ["16", "24"])
def test_integer_formats_clip_and_do_not_wrap_around(tmp_path, extension, depth):
    block = np.repeat(np.array([[1.5, -1.5, 1.0, -1.0, 300.0]], dtype=np.float32), 1000, axis=1)
    values = read(write(tmp_path / f"a{extension}", block, depth=depth))
    np.testing.assert_allclose(values, np.clip(block, -1, 1), atol=2**-15)


def test_output_formats_describe_themselves():
    assert list(audio.OUTPUT_FORMATS) == list(FORMATS)
    for extension, entry in audio.OUTPUT_FORMATS.items():
        assert entry.extension == extension
        assert bool(entry.depths) == (extension in LOSSLESS)
        assert (entry.default_depth in entry.depths) == bool(entry.depths)
        assert output_format(extension[1:].upper()) is entry


@pytest.mark.parametrize(
    ("peak", "extension", "depth", "gain"),
    [
        (1.0, ".flac", None, 1.0),
        (2.0, ".flac", None, 0.49995),
        (2.0, ".wav", None, 1.0),
        (2.0, ".wav", "16", 0.49995),
        (2.0, ".mp3", None, 0.49995),
        (2.0, audio.STEM_MP4, None, 0.49995),
    ],
)
def test_gain_keeps_all_formats_but_float_from_clipping(peak, extension, depth, gain):
    assert audio.clipping_gain(peak, extension, depth) == pytest.approx(gain, rel=1e-9)


def test_module_loads_no_codec():
    code = (
        "import sys, openunmix.audio\n"
        "print([n for n in ('soundfile', 'soxr', 'av', 'mutagen') if n in sys.modules])"
    )
    root = Path(importlib.util.find_spec("openunmix").origin).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
