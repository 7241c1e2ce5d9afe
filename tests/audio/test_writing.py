"""Writing: complete or not at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.files import FORMATS, RATE, music, read, snr, write

from openunmix import audio
from openunmix.audio import writing
from openunmix.audio.encoders import supported_sample_rate
from openunmix.errors import AudioFileError


def test_writer_takes_tensors_and_leaves_them_alone(tmp_path):
    block = torch.from_numpy(music()).double().requires_grad_()
    copy = block.detach().clone()
    with audio.AudioWriter(tmp_path / "a.wav", RATE, 2) as writer:
        writer.write(block)
    np.testing.assert_array_equal(read(tmp_path / "a.wav"), music())
    assert torch.equal(block, copy)


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_interrupted_writer_leaves_nothing_new(tmp_path, extension, error):
    path = tmp_path / f"a{extension}"
    path.write_bytes(b"what was there")

    def interrupted() -> None:
        with audio.AudioWriter(path, RATE, 2) as writer:
            writer.write(music())
            assert len(list(tmp_path.iterdir())) == 2
            raise error

    with pytest.raises(error):
        interrupted()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"what was there"


@pytest.mark.parametrize("extension", FORMATS)
def test_finished_file_replaces_the_old_one_and_is_readable_by_all(tmp_path, extension):
    path = tmp_path / f"a{extension}"
    path.write_bytes(b"what was there")
    path = write(path, music())
    assert list(tmp_path.iterdir()) == [path]
    other = tmp_path / "other"
    other.touch()
    assert path.stat().st_mode == other.stat().st_mode


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9999])
def test_full_disk_is_an_error_and_leaves_nothing(tmp_path, extension, share):
    """libsndfile ignores some failures while closing: files lacked their end, silently."""
    resource = pytest.importorskip("resource")
    size = write(tmp_path / f"a{extension}", music()).stat().st_size
    (tmp_path / f"a{extension}").unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * size), hard))
        with pytest.raises(AudioFileError, match=rf"a\{extension}' could not be written: .*large"):
            write(tmp_path / f"a{extension}", music())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "options", "message"), [
    ("a.xyz", {}, r"'\.xyz'.*\.wav"),
    ("a", {}, r"cannot write the format ''"),
    ("a.flac", {"depth": "32f"}, "'16' or '24'"),
    ("a.mp3", {"depth": "16"}, "choose none"),
    ("a.ogg", {"channels": 6}, "1 to 2 channels, not 6"),
    ("a.wav", {"channels": 0}, "not 0"),
    ("a.wav", {"sample_rate": 0}, "sample_rate is 0"),
])  # fmt: skip
def test_what_a_format_cannot_hold_is_refused(tmp_path, name, options, message):
    arguments = {"sample_rate": RATE, "channels": 2, **options}
    with pytest.raises(ValueError, match=message):
        audio.AudioWriter(tmp_path / name, **arguments)
    assert not list(tmp_path.iterdir())


def test_block_of_the_wrong_shape_and_late_block_are_refused(tmp_path):
    with audio.AudioWriter(tmp_path / "a.wav", RATE, 2) as writer:
        for shape in ((100, 2), (3, 100), (100,)):
            with pytest.raises(ValueError, match="channels come first"):
                writer.write(np.zeros(shape, np.float32))
        writer.write(music())
    with pytest.raises(ValueError, match="closed"):
        writer.write(music())
    np.testing.assert_array_equal(read(tmp_path / "a.wav"), music())


@pytest.mark.parametrize(("extension", "rate", "stored"), [
    (".opus", 44100, 48000), (".opus", 8000, 8000), (".mp3", 96000, 48000), (".m4a", 192000, 96000),
    (".flac", 65535, 65535), (".flac", 65537, 65540), (".flac", 96001, 96010),
    (".flac", 192001, 192010), (".flac", 352800, 352800), (".flac", 655350, 655350),
    (".flac", 768000, 384000), (".wav", 768000, 768000), (".mp3", 768000, 48000),
    (".m4a", 7350, 8000), (".ogg", 384000, 192000),
    (".ogg", 50000, 64000), (".wav", 12345, 12345), (".flac", 96000, 96000), (".mp3", 4000, 8000),
])  # fmt: skip
def test_rates_a_format_cannot_hold_are_converted(tmp_path, extension, rate, stored):
    assert supported_sample_rate(extension, rate) == stored
    time = np.arange(rate // 2 + 1) / rate
    path = write(tmp_path / f"a{extension}", 0.5 * np.sin(2 * np.pi * 500 * time)[None], rate)
    clip = audio.read_audio(path)
    assert clip.sample_rate == stored
    assert clip.waveform.shape[1] == round((rate // 2 + 1) * stored / rate)
    expected = 0.5 * np.sin(2 * np.pi * 500 * np.arange(clip.waveform.shape[1]) / stored)
    inner = slice(1000, -1000)
    assert snr(expected[inner], clip.waveform[0, inner].numpy()) > 15


def test_message_of_a_codec_names_the_file_and_no_object(tmp_path, monkeypatch):
    """It said "Error opening <openunmix.audio._paths.PartFile object at 0x7f66>"."""
    monkeypatch.setattr(writing, "supported_sample_rate", lambda extension, rate: rate)
    with pytest.raises(AudioFileError, match=r"a\.flac' could not be written: [^<]*rate$"):
        audio.AudioWriter(tmp_path / "a.flac", 768000, 2)


def test_bit_rate_of_other_formats_cannot_be_chosen(tmp_path):
    with pytest.raises(ValueError, match=r"\.mp3 has no choice of bit_rate"):
        audio.AudioWriter(tmp_path / "a.mp3", 44100, 2, bit_rate=128_000)
    assert not list(tmp_path.iterdir())
