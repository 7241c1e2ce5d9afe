"""Every output format: what is written is read again, with the precision of the format."""

from __future__ import annotations

import os
import wave

import av
import numpy as np
import pytest
import soundfile
import torch
from helpers.files import FORMATS, LENGTH, LOSSLESS, RATE, lag, music, read, snr, write

from openunmix import audio
from openunmix.audio import _wav, encoders
from openunmix.audio.encoders import output_format
from openunmix.errors import AudioFileError


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
    assert encoders.clipping_gain(peak, extension, depth) == pytest.approx(gain, rel=1e-9)


@pytest.mark.parametrize("extension", FORMATS)
def test_round_trip_keeps_length_position_and_sound(tmp_path, extension):
    rate = encoders.supported_sample_rate(extension, RATE)
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


@pytest.mark.parametrize("depth", ["16", "24", "32f"])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_wav_that_outgrows_its_32_bits_becomes_rf64(tmp_path, monkeypatch, depth, channels):
    """An input of unknown length: "grew beyond the 4 GiB that a WAV can hold", after hours."""
    path, block = tmp_path / "a.wav", music(LENGTH, channels)
    write(path, block, depth=depth)
    content, values = path.read_bytes(), read(path)
    assert content[:4] == b"RIFF"
    assert int.from_bytes(content[4:8], "little") == len(content) - 8
    monkeypatch.setattr(_wav, "RIFF_LIMIT", len(content) - 9)
    assert write(path, block, depth=depth).read_bytes()[:4] == b"RF64"
    np.testing.assert_array_equal(read(path), values)
    assert soundfile.info(path).format == "RF64"


@pytest.mark.skipif(os.name == "nt", reason="needs sparse files")
def test_rf64_of_more_than_4_gib_has_its_true_sizes(tmp_path):
    length = 2**29 + 10  # samples of 8 bytes; seeking over most of them leaves a sparse file
    with audio.AudioWriter(tmp_path / "a.wav", RATE, 2) as writer:
        writer._encoder._file.seek(8 * (length - LENGTH), os.SEEK_CUR)
        writer._encoder._written = length - LENGTH
        writer.write(music())
    assert audio.probe(tmp_path / "a.wav").samples == soundfile.info(tmp_path / "a.wav").frames
    values = read(tmp_path / "a.wav", start=(length - LENGTH) / RATE)
    np.testing.assert_array_equal(values, music())


def test_wav_is_read_by_everything(tmp_path):
    """As libsndfile reads it, FFmpeg and the standard library do."""
    block = music(301, 1)  # an odd number of bytes with 24 bits
    for depth in ("16", "24", "32f"):
        path = write(tmp_path / f"{depth}.wav", block, depth=depth)
        expected = soundfile.read(path, dtype="float32")[0]
        with av.open(str(path)) as container:
            decoded = [frame.to_ndarray() for frame in container.decode(audio=0)]
        scale = {"16": 2**15, "24": 2**31, "32f": 1}[depth]
        np.testing.assert_array_equal(np.concatenate(decoded, axis=1)[0] / scale, expected)
        if depth != "32f":
            with wave.open(str(path)) as file:
                assert (file.getnframes(), file.getframerate()) == (301, RATE)


def test_length_that_a_format_cannot_count_is_refused_at_once(tmp_path):
    with pytest.raises(AudioFileError, match=rf"a\.flac'.* {2**36} samples, .*holds {2**36 - 1}"):
        audio.AudioWriter(tmp_path / "a.flac", RATE, 1, expected_samples=2**36)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("channels", [1, 2])
def test_bit_rate_of_opus_can_be_chosen(tmp_path, channels):
    samples = np.random.default_rng(0).normal(0, 0.1, (channels, 10 * 48000))
    for bit_rate in (32_000 * channels, 96_000 * channels):
        path = tmp_path / f"{bit_rate}.opus"
        with audio.AudioWriter(path, 48000, channels, bit_rate=bit_rate) as writer:
            writer.write(samples)
        assert path.stat().st_size * 8 / 10 == pytest.approx(bit_rate, rel=0.15)
