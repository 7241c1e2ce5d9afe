"""Reading: excerpts, blocks, and what is refused."""

from __future__ import annotations

import os
import tracemalloc

import numpy as np
import pytest
import torch
from helpers.files import FORMATS, LENGTH, RATE, music, read, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openunmix import audio
from openunmix.audio.encoders import supported_sample_rate
from openunmix.errors import AudioFileError


@pytest.mark.parametrize("extension", FORMATS)
def test_probe_agrees_with_what_is_read(tmp_path, extension):
    rate = supported_sample_rate(extension, RATE)
    path = write(tmp_path / f"a{extension}", music(rate=rate, channels=1), rate)
    info = audio.probe(path)
    assert (info.sample_rate, info.channels) == (rate, 1)
    assert abs(info.samples - LENGTH) <= (rate // 10 if extension == ".mp3" else 0)
    assert info.duration == info.samples / rate
    assert info.streams == 1
    assert info.codec


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


@pytest.mark.parametrize("extension", FORMATS)
def test_memory_does_not_grow_with_the_length_of_the_file(tmp_path, extension):
    block = music(RATE, 1)
    with audio.AudioWriter(tmp_path / f"a{extension}", RATE, 1) as writer:
        for _ in range(20):
            writer.write(block)
    audio.read_audio(tmp_path / f"a{extension}", duration=0.1)  # what is imported stays
    tracemalloc.start()
    with audio.AudioReader(tmp_path / f"a{extension}") as reader:
        samples = sum(part.shape[1] for part in reader)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert samples >= 20 * RATE
    assert peak < 2e6 < 3.5e6 < 4 * samples


def test_reader_closes_its_file(tmp_path):
    path = write(tmp_path / "a.m4a", music())
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with audio.AudioReader(path) as reader:
        next(reader)
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before


@pytest.mark.parametrize("arguments", [
    {"start": -1.0}, {"start": float("nan")}, {"duration": 0.0}, {"duration": float("inf")},
    {"block": 0},
])  # fmt: skip
def test_senseless_positions_are_refused(tmp_path, arguments):
    path = write(tmp_path / "a.wav", music(100))
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} is"):
        audio.AudioReader(path, **arguments)


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("start", [LENGTH / RATE + 0.2, 50.0])
def test_start_beyond_the_end_is_an_error(tmp_path, extension, start):
    path = write(tmp_path / f"a{extension}", music())
    with pytest.raises(
        AudioFileError, match=rf"a\{extension}' lasts 1\.[34]\d+ s; .* start={start:g}"
    ):
        read(path, start=start)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_reported_with_their_position(tmp_path, value):
    block = music(2 * RATE)
    block[1, RATE + 441] = value
    path = write(tmp_path / "a.wav", block)
    with pytest.raises(
        AudioFileError, match=rf"a\.wav'.*{value} in channel 1 at sample 44541 \(1\.010 s"
    ):
        read(path, start=0.5)


@pytest.mark.parametrize("extension", [".wav", ".flac"])
def test_file_without_samples_is_an_error(tmp_path, extension):
    path = write(tmp_path / f"a{extension}", np.zeros((2, 0), np.float32))
    with pytest.raises(AudioFileError, match=rf"a\{extension}"):
        audio.read_audio(path)
