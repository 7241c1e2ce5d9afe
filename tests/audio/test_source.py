"""Where audio is: streams, excerpts, and the extensions that are taken for audio."""

from __future__ import annotations

import av
import numpy as np
import pytest
from helpers.files import music, write

from openunmix.audio import AUDIO_EXTENSIONS, OUTPUT_FORMATS, STEM_MP4, AudioSource

RATE = 44100


def test_source_without_excerpt_is_the_whole_of_the_first_stream(tmp_path):
    block = music(RATE)
    with AudioSource(write(tmp_path / "a.wav", block, RATE)).open() as reader:
        assert np.array_equal(np.concatenate(list(reader), axis=1), block)


def test_excerpt_is_exact_to_the_sample(tmp_path):
    block = music(RATE)
    source = AudioSource(write(tmp_path / "a.wav", block, RATE), start=0.25, duration=0.5)
    with source.open(block=1000) as reader:
        blocks = list(reader)
    assert blocks[0].shape == (2, 1000)
    assert np.array_equal(np.concatenate(blocks, axis=1), block[:, 11025:33075])


def test_stream_that_is_not_there_is_named(tmp_path):
    path = write(tmp_path / "a.wav", music(RATE, channels=1), RATE)
    with pytest.raises(OSError, match="no audio stream 1"):
        AudioSource(path, stream=1).open()


def test_everything_that_can_be_written_is_found_by_its_extension():
    assert {*OUTPUT_FORMATS, f".{STEM_MP4.rpartition('.')[2]}"} <= set(AUDIO_EXTENSIONS)


@pytest.mark.parametrize(
    "containers",
    [
        "aac ac3 aiff amr ape asf au avi caf dsf dts dtshd eac3 flac flv gxf ircam",
        "mlp mov mp3 mpc mpeg mpegts mxf nistsphere ogg pvf qoa rm shn swf tak truehd tta voc",
        "w64 wav webm wtv wv",
    ],
)
def test_every_extension_of_a_container_is_known(containers):
    """A folder of `.m4b`, `.wmv`, `.ts` was passed over, though `umx x.m4b` reads it."""
    without_sound = {"avif", "heic", "heif", "mj2", "ism", "psp", "mks", "apl", "mac"}
    for name in containers.split():
        missing = av.ContainerFormat(name).extensions - without_sound
        assert {
            extension for extension in missing if f".{extension}" not in AUDIO_EXTENSIONS
        } == set()


def test_lossless_formats_are_preferred():
    lossy = max(AUDIO_EXTENSIONS.index(extension) for extension in (".mp3", ".ogg", ".m4a"))
    lossless = min(AUDIO_EXTENSIONS.index(extension) for extension in (".wav", ".flac", ".aiff"))
    assert lossy < lossless
