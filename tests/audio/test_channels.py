"""The order of channels, and the downmix to stereo."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.files import encode, music, read, snr, write

from openunmix import audio
from openunmix.audio.channels import default_layout, downmix_to_stereo
from openunmix.errors import AudioFileError

LAYOUTS = {"3.0": 3, "quad": 4, "5.0": 5, "5.1": 6, "6.1": 7, "7.1": 8}


def tones(channels: int, length: int = 12000) -> np.ndarray:
    """A sine in every channel, of 60, 300, 540 ... Hz (a low-pass for LFE may be applied)."""
    time = np.arange(length) / 48000
    rows = [0.3 * np.sin(2 * np.pi * (60 + 240 * k) * time) for k in range(channels)]
    return np.stack(rows).astype(np.float32)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("extension", [".wav", ".flac"])
def test_channels_come_in_the_order_of_wav(tmp_path, layout, extension):
    block = tones(LAYOUTS[layout])
    path = write(tmp_path / f"a{extension}", block, 48000)
    assert snr(block, read(path)) > 100
    assert len(audio.probe(path).layout) == len(block)


@pytest.mark.parametrize("codec", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("channels", [3, 5, 6, 7, 8])
def test_ogg_channels_are_reordered_to_the_order_of_wav(tmp_path, codec, channels):
    """Vorbis and Opus store left, centre, right ..., low frequencies last."""
    import soundfile

    stored = {
        3: ("FL", "FC", "FR"),
        5: ("FL", "FC", "FR", "BL", "BR"),
        6: ("FL", "FC", "FR", "BL", "BR", "LFE"),
        7: ("FL", "FC", "FR", "SL", "SR", "BC", "LFE"),
        8: ("FL", "FC", "FR", "SL", "SR", "BL", "BR", "LFE"),
    }[channels]
    order = default_layout(channels)
    block = tones(channels)
    shuffled = block[[order.index(name) for name in stored]]
    path = tmp_path / "a.ogg"
    soundfile.write(path, shuffled.T, 48000, format="OGG", subtype=codec)
    values, layout = read(path), audio.probe(path).layout
    assert layout == order
    assert values.shape == block.shape
    for row, name in enumerate(layout):
        if name != "LFE":  # Opus filters it
            assert snr(block[row], values[row]) > 10, name


def test_downmix_follows_bs775():
    half = 0.5**0.5
    one = np.eye(6, dtype=np.float32)
    expected = [[1, 0, half, 0, half, 0], [0, 1, half, 0, 0, half]]
    np.testing.assert_allclose(downmix_to_stereo(one), expected, atol=1e-7)
    single = downmix_to_stereo(np.eye(4, dtype=np.float32), ("FL", "FR", "FC", "BC"))
    np.testing.assert_allclose(single, [[1, 0, half, 0.5], [0, 1, half, 0.5]], atol=1e-7)


@pytest.mark.parametrize("channels", range(3, 9))
def test_downmix_of_equal_sides_is_symmetric_and_loses_only_low_frequencies(channels):
    weights = downmix_to_stereo(np.eye(channels, dtype=np.float32))
    assert weights.sum(axis=1)[0] == pytest.approx(weights.sum(axis=1)[1])
    silent = [n for n, w in zip(default_layout(channels), weights.T, strict=True) if not any(w)]
    assert silent in ([], ["LFE"])


def test_downmix_leaves_stereo_alone_and_refuses_the_unknown():
    block = music()
    assert downmix_to_stereo(block) is block
    with pytest.raises(ValueError, match="9 channels"):
        downmix_to_stereo(np.zeros((9, 4), np.float32))
    with pytest.raises(ValueError, match="3 channels"):
        downmix_to_stereo(np.zeros((3, 4), np.float32), ("FL", "FR"))


@pytest.mark.parametrize(("container", "extension"), [
    ("wav", ".wav"), ("caf", ".caf"), ("w64", ".w64"), ("mov", ".mov"),
])  # fmt: skip
@pytest.mark.parametrize(("layout", "names"), [
    ("3.1", ("FL", "FR", "FC", "LFE")),
    ("2.1", ("FL", "FR", "LFE")),
    ("4.0", ("FL", "FR", "FC", "BC")),
    ("5.1(side)", ("FL", "FR", "FC", "LFE", "SL", "SR")),
])  # fmt: skip
def test_names_in_a_file_are_heeded(tmp_path, container, extension, layout, names):
    """Somebody separated a 3.1 in WAV: its mask was ignored, and the voice came from the left."""
    block = tones(len(names))
    path = encode(tmp_path / f"a{extension}", block, "pcm_f32le", layout, container, rate=48000)
    assert audio.probe(path).layout == names
    np.testing.assert_array_equal(read(path), block)


@pytest.mark.parametrize(("mask", "names"), [
    (0, default_layout(4)),  # none
    (0b1111, ("FL", "FR", "FC", "LFE")),
    (0b11, default_layout(4)),  # of two channels
    (0b11111, default_layout(4)),  # of five
    (0xFFFFFFFF, default_layout(4)),
    (0xC3, ("FL", "FR", "FLC", "FRC")),
])  # fmt: skip
def test_masks_that_do_not_fit_are_none(tmp_path, mask, names):
    path = encode(tmp_path / "a.wav", tones(4), "pcm_s16le", "3.1", "wav", rate=48000)
    content = path.read_bytes()
    at = content.index(b"fmt ") + 8 + 20  # dwChannelMask of WAVEFORMATEXTENSIBLE
    path.write_bytes(content[:at] + mask.to_bytes(4, "little") + content[at + 4 :])
    assert audio.probe(path).layout == names
    assert read(path).shape == (4, 12000)


def test_channels_beside_the_centre_and_ambisonics_have_their_sides():
    weights = downmix_to_stereo(np.eye(4, dtype=np.float32), ("FLC", "FRC", "TFL", "LFE"))
    assert weights[0, 0] == weights[1, 1] == weights[0, 2] > 0
    assert weights[1, 0] == weights[0, 1] == weights[0, 3] == weights[1, 3] == 0
    sphere = downmix_to_stereo(np.eye(4, dtype=np.float32), [f"AMBI{k}" for k in range(4)])
    np.testing.assert_array_equal(sphere, [[0.5, 0.5, 0, 0], [0.5, -0.5, 0, 0]])


def test_reading_in_stereo_mixes_down_by_the_names(tmp_path):
    block = tones(4)
    path = encode(tmp_path / "a.wav", block, "pcm_f32le", "3.1", "wav", rate=48000)
    stereo = audio.read_audio(path, stereo=True).waveform.numpy()
    np.testing.assert_allclose(stereo, block[:2] + 0.5**0.5 * block[2], atol=1e-6)
    many = write(tmp_path / "b.wav", np.tile(block, (3, 1)), 48000)
    with pytest.raises(AudioFileError, match=r"b\.wav'.* 12 channels"):
        audio.read_audio(many, stereo=True)
