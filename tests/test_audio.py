from __future__ import annotations

import importlib.util
import os
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openunmix import audio
from openunmix._audio import decoders, encoders
from openunmix.errors import AudioFileError

RATE = 44100
LENGTH = 60001  # a prime number of samples, so no multiple of any frame or block

# Extension to the least signal-to-noise ratio in dB of a round trip: PCM from its word
# length, lossy formats from what they reach on `music` with some margin.
FORMATS = {".wav": 140, ".flac": 125, ".ogg": 20, ".opus": 18, ".mp3": 20, ".m4a": 20}
LOSSLESS = [".wav", ".flac"]


def music(length: int = LENGTH, channels: int = 2, rate: int = RATE) -> np.ndarray:
    """A melody with some noise, different in each channel."""
    time = np.arange(length) / rate
    generator = np.random.default_rng(7)
    tones = [np.sin(2 * np.pi * (330 + 170 * k) * time + 2 * np.sin(9 * time)) for k in range(8)]
    block = 0.4 * np.stack(tones[:channels]) + 0.02 * generator.standard_normal((channels, length))
    return block.astype(np.float32)


def write(path: Path, block: np.ndarray, rate: int = RATE, **options) -> Path:
    with audio.AudioWriter(path, rate, block.shape[0], **options) as writer:
        for first in range(0, block.shape[1], 9973):
            writer.write(block[:, first : first + 9973])
    return path


def encode(path: Path, block: np.ndarray, codec: str, layout: str, container: str, **options):
    """Encode with FFmpeg what `AudioWriter` does not write."""
    import av

    rate = options.pop("rate", RATE)
    with av.open(str(path), "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout, bit_rate=128000)
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def snr(reference: np.ndarray, estimate: np.ndarray) -> float:
    noise = np.sum((reference - estimate) ** 2) + 1e-20
    return float(10 * np.log10(np.sum(reference**2) / noise))


def lag(reference: np.ndarray, estimate: np.ndarray) -> int:
    """Delay of the estimate at which the two correlate best, in samples."""
    size = 2 * max(reference.shape[-1], estimate.shape[-1])
    spectrum = np.fft.rfft(estimate[0], size) * np.fft.rfft(reference[0], size).conj()
    correlation = np.fft.irfft(spectrum, size)
    peak = int(np.argmax(correlation))
    return peak if peak < size // 2 else peak - size


def read(path: Path, **options) -> np.ndarray:
    return audio.read_audio(path, **options).waveform.numpy()


# Round trips -----------------------------------------------------------------------------


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


@pytest.mark.parametrize("extension", FORMATS)
def test_probe_agrees_with_what_is_read(tmp_path, extension):
    rate = audio.supported_sample_rate(extension, RATE)
    path = write(tmp_path / f"a{extension}", music(rate=rate, channels=1), rate)
    info = audio.probe(path)
    assert (info.sample_rate, info.channels) == (rate, 1)
    assert abs(info.samples - LENGTH) <= (rate // 10 if extension == ".mp3" else 0)
    assert info.duration == info.samples / rate
    assert info.streams == audio.n_streams(path) == 1
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


@pytest.mark.parametrize(("codec", "container", "extension"), [
    ("alac", "ipod", ".m4a"), ("pcm_s16le", "mov", ".mov"), ("pcm_u8", "avi", ".avi"),
    ("flac", "matroska", ".mkv"), ("pcm_f32le", "matroska", ".mka"), ("pcm_s24le", "mov", ".mov"),
])  # fmt: skip
def test_every_sample_format_of_ffmpeg_becomes_float(tmp_path, codec, container, extension):
    path = encode(tmp_path / f"a{extension}", music(), codec, "stereo", container)
    values = read(path)
    assert values.shape == (2, LENGTH)
    assert snr(music(), values) > (35 if codec == "pcm_u8" else 80)


def test_opus_in_webm_starts_and_ends_with_the_music(tmp_path):
    block = music(rate=48000)
    path = encode(tmp_path / "a.webm", block, "libopus", "stereo", "webm", rate=48000)
    assert read(path).shape == block.shape
    assert lag(block, read(path)) == 0


def test_windows_media_and_raw_aac_are_read(tmp_path):
    for name, codec, container in (("a.wma", "wmav2", "asf"), ("a.aac", "aac", "adts")):
        path = encode(tmp_path / name, music(), codec, "stereo", container)
        values = read(path)
        shift = lag(music(), values)
        common = min(values.shape[1] - shift, LENGTH) - 4096
        assert snr(music()[:, 4096:common], values[:, 4096 + shift : common + shift]) > 15


def test_fragmented_mp4_without_a_length_is_read(tmp_path):
    flags = "frag_keyframe+empty_moov+default_base_moof"
    path = encode(tmp_path / "a.mp4", music(), "aac", "stereo", "mp4", movflags=flags)
    assert LENGTH <= read(path).shape[1] < LENGTH + 2048


def test_stream_that_the_file_does_not_have_is_an_error(tmp_path):
    for name in ("a.wav", "a.m4a"):
        path = write(tmp_path / name, music())
        np.testing.assert_array_equal(read(path, stream=0), read(path))
        for stream in (1, 7, -1):
            with pytest.raises(AudioFileError, match=f"no audio stream {stream}: it has 1"):
                read(path, stream=stream)


def test_mp3_without_a_length_in_its_header_is_read_to_the_end(tmp_path):
    """An estimate from the first frame cuts music that gets louder: read what is there."""
    block = music(3 * RATE) * np.repeat([[0.0, 1.0, 1.0]], RATE, axis=1).astype(np.float32)
    path = encode(tmp_path / "a.mp3", block, "libmp3lame", "stereo", "mp3", write_xing="0")
    assert LENGTH < 3 * RATE <= read(path).shape[1] < 3 * RATE + 4 * 1152


def test_content_and_not_the_extension_decides(tmp_path):
    for extension, disguise in ((".wav", ".mp3"), (".m4a", ".wav"), (".mp3", ".raw"), (".wav", "")):
        path = write(tmp_path / f"a{extension}", music())
        whole = read(path)
        disguised = path.rename(tmp_path / f"b{disguise}")
        np.testing.assert_array_equal(read(disguised), whole)
    write(tmp_path / "c.wav", music()).rename(tmp_path / "c.raw")
    assert read(tmp_path / "c.raw").shape == (2, LENGTH)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not allow these names")
def test_odd_file_names_are_only_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.makedirs("http:/x")
    names = ["-.wav", "concat:a|b.m4a", "http://x/a.m4a", "ü ñ 音.flac", "%03d.m4a"]
    names.append(os.fsdecode(b"\xff\xfe.wav") if sys.platform == "linux" else "x.wav")
    for name in names:
        write(Path(name), music())
        for given_name in (name, Path(name)):
            assert read(given_name).shape == (2, LENGTH)


@pytest.mark.parametrize("text", [
    "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n",
    "ffconcat version 1.0\nfile {}\n",
])  # fmt: skip
def test_playlists_lead_nowhere(tmp_path, text):
    write(tmp_path / "a.wav", music())
    playlist = tmp_path / "list.m4a"
    playlist.write_text(text.format("a.wav"))
    with pytest.raises(AudioFileError, match=r"list\.m4a"):
        read(playlist)


# Reading in blocks -----------------------------------------------------------------------


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


# Broken files ----------------------------------------------------------------------------


def test_missing_file_folder_empty_file_and_pipe_are_named(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "dir.wav").mkdir()
    cases = {"none.wav": "does not exist", "dir.wav": "is a folder", "empty.wav": "is empty"}
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.wav")
        cases["pipe.wav"] = "is not a regular file"
    for name, reason in cases.items():
        for function in (audio.probe, audio.read_audio, audio.n_streams):
            with pytest.raises(AudioFileError, match=f"{name}' {reason}"):
                function(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_unreadable_file_is_named(tmp_path):
    path = write(tmp_path / "a.wav", music(100))
    path.chmod(0)
    with pytest.raises(AudioFileError, match="permission denied"):
        audio.probe(path)


def test_what_is_not_audio_is_refused(tmp_path):
    generator = np.random.default_rng(0)
    contents = {
        "text.wav": b"To be, or not to be, that is the question\n" * 100,
        "noise.mp3": generator.bytes(20000),
        "zeros.flac": bytes(20000),
        "short.ogg": b"OggS",
        "riff.wav": b"RIFF\x10\x00\x00\x00WAVEfmt ",
        "byte.m4a": b"\x00",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(AudioFileError, match=name) as caught:
            audio.read_audio(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_video_without_sound_is_refused(tmp_path):
    import av

    with av.open(str(tmp_path / "mute.mp4"), "w") as output:
        stream = output.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(AudioFileError, match=r"mute\.mp4' has no audio stream"):
        audio.probe(tmp_path / "mute.mp4")


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("kept", [0.3, 0.7])
def test_truncated_file_is_an_error(tmp_path, extension, kept):
    path = write(tmp_path / f"a{extension}", music(3 * RATE))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(AudioFileError, match=rf"a\{extension}.*(cut short|damaged)"):
        read(path)


def test_truncated_mp4_with_its_index_first_is_an_error(tmp_path):
    path = encode(
        tmp_path / "a.m4a", music(3 * RATE), "aac", "stereo", "ipod", movflags="faststart"
    )
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    with pytest.raises(AudioFileError, match=r"a\.m4a.*(cut short|damaged)"):
        read(path)


@pytest.mark.parametrize("extension", [".flac", ".ogg", ".mp3", ".m4a"])
def test_damage_in_the_middle_is_an_error(tmp_path, extension):
    path = write(tmp_path / f"a{extension}", music(3 * RATE))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = np.random.default_rng(1).bytes(3000)
    path.write_bytes(content)
    with pytest.raises(AudioFileError, match=rf"a\{extension}.*(cut short|damaged)"):
        read(path)


def test_junk_around_an_mp3_is_harmless(tmp_path):
    path = write(tmp_path / "a.mp3", music())
    whole = read(path)
    for junk in (b"TAG" + bytes(125), bytes(5000)):
        path.write_bytes(path.read_bytes() + junk)
        values = read(path)
        assert LENGTH <= values.shape[1] < LENGTH + 1152
        np.testing.assert_array_equal(values[:, :LENGTH], whole)


def test_reading_damaged_files_prints_nothing(tmp_path, capfd):
    for extension in FORMATS:
        path = write(tmp_path / f"a{extension}", music())
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] + bytes(range(255, -1, -1)) * 20)
        with pytest.raises(AudioFileError):
            read(path)
    assert capfd.readouterr() == ("", "")


def test_impossible_seek_of_a_damaged_file_is_answered_and_not_raised(tmp_path):
    """PyAV printed the traceback of each such seek on stderr; found by fuzzing."""
    with decoders._QuietFile(write(tmp_path / "a.wav", music(100))) as file:
        assert file.seek(-5) == -1
        assert file.read(4) == b"RIFF"


@pytest.mark.parametrize("placeholder", [0x7FFFFFFF, 0xFFFFFFFF])
def test_wav_from_a_pipe_has_no_length_and_is_read(tmp_path, placeholder):
    path = write(tmp_path / "a.wav", music())
    content = bytearray(path.read_bytes())
    size = content.find(b"data") + 4
    content[size : size + 4] = content[4:8] = struct.pack("<I", placeholder)
    path.write_bytes(content)
    np.testing.assert_array_equal(read(path), music())


@pytest.mark.parametrize("extension", [".wav", ".flac"])
def test_file_without_samples_is_an_error(tmp_path, extension):
    path = write(tmp_path / f"a{extension}", np.zeros((2, 0), np.float32))
    with pytest.raises(AudioFileError, match=rf"a\{extension}"):
        audio.read_audio(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_reported_with_their_position(tmp_path, value):
    block = music(2 * RATE)
    block[1, RATE + 441] = value
    path = write(tmp_path / "a.wav", block)
    with pytest.raises(
        AudioFileError, match=rf"a\.wav'.*{value} in channel 1 at sample 44541 \(1\.010 s"
    ):
        read(path, start=0.5)


def test_error_messages_are_one_line_whatever_the_name(tmp_path):
    with pytest.raises(AudioFileError) as caught:
        audio.probe(tmp_path / "a\nb\x1b[31m.wav")
    assert str(caught.value).isprintable()


# Channels --------------------------------------------------------------------------------

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
    order = audio.default_layout(channels)
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
    np.testing.assert_allclose(audio.downmix_to_stereo(one), expected, atol=1e-7)
    single = audio.downmix_to_stereo(np.eye(4, dtype=np.float32), ("FL", "FR", "FC", "BC"))
    np.testing.assert_allclose(single, [[1, 0, half, 0.5], [0, 1, half, 0.5]], atol=1e-7)


@pytest.mark.parametrize("channels", range(3, 9))
def test_downmix_of_equal_sides_is_symmetric_and_loses_only_low_frequencies(channels):
    weights = audio.downmix_to_stereo(np.eye(channels, dtype=np.float32))
    assert weights.sum(axis=1)[0] == pytest.approx(weights.sum(axis=1)[1])
    silent = [
        n for n, w in zip(audio.default_layout(channels), weights.T, strict=True) if not any(w)
    ]
    assert silent in ([], ["LFE"])


def test_downmix_leaves_stereo_alone_and_refuses_the_unknown():
    block = music()
    assert audio.downmix_to_stereo(block) is block
    with pytest.raises(ValueError, match="9 channels"):
        audio.downmix_to_stereo(np.zeros((9, 4), np.float32))
    with pytest.raises(ValueError, match="3 channels"):
        audio.downmix_to_stereo(np.zeros((3, 4), np.float32), ("FL", "FR"))


# Writing ---------------------------------------------------------------------------------


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


def test_places_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "dir.wav").mkdir()
    cases = {"dir.wav": "is a folder", "none/a.wav": "folder does not exist"}
    for name, reason in cases.items():
        with pytest.raises(AudioFileError, match=f"{name}.*{reason}"):
            audio.AudioWriter(tmp_path / name, RATE, 2)


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
    (".ogg", 50000, 64000), (".wav", 12345, 12345), (".flac", 96000, 96000), (".mp3", 4000, 8000),
])  # fmt: skip
def test_rates_a_format_cannot_hold_are_converted(tmp_path, extension, rate, stored):
    assert audio.supported_sample_rate(extension, rate) == stored
    time = np.arange(rate // 2 + 1) / rate
    path = write(tmp_path / f"a{extension}", 0.5 * np.sin(2 * np.pi * 500 * time)[None], rate)
    clip = audio.read_audio(path)
    assert clip.sample_rate == stored
    assert clip.waveform.shape[1] == round((rate // 2 + 1) * stored / rate)
    expected = 0.5 * np.sin(2 * np.pi * 500 * np.arange(clip.waveform.shape[1]) / stored)
    inner = slice(1000, -1000)
    assert snr(expected[inner], clip.waveform[0, inner].numpy()) > 15


def test_long_wav_becomes_rf64_and_a_surprise_is_an_error(tmp_path, monkeypatch):
    """Above 4 GiB the 32-bit sizes of a WAV overflow; here the limit is lowered."""
    monkeypatch.setattr(encoders, "RIFF_LIMIT", 8 * LENGTH)
    path = tmp_path / "a.wav"
    fits = write(path, music(), expected_samples=LENGTH).read_bytes()
    assert fits[:4] == b"RIFF"
    long = music(LENGTH + 1)
    content = write(path, long, expected_samples=LENGTH + 1).read_bytes()
    assert content[:4] == b"RF64"
    np.testing.assert_array_equal(read(path), long)
    assert write(path, long, depth="24", expected_samples=LENGTH + 1).read_bytes()[:4] == b"RIFF"
    path.unlink()
    with pytest.raises(AudioFileError, match=r"a\.wav' grew beyond"):
        write(path, long)
    assert not list(tmp_path.iterdir())


def test_long_names_leave_room_for_the_temporary_name(tmp_path):
    path = tmp_path / (250 * "x" + ".wav")
    assert read(write(path, music(100))).shape == (2, 100)


def test_output_formats_describe_themselves():
    assert list(audio.OUTPUT_FORMATS) == list(FORMATS)
    for extension, entry in audio.OUTPUT_FORMATS.items():
        assert entry.extension == extension
        assert entry.lossless == (extension in LOSSLESS)
        assert entry.is_float == (extension == ".wav")
        assert (entry.default_depth in entry.depths) == bool(entry.depths)
        assert audio.output_format(extension[1:].upper()) is entry
    assert not audio.output_format(".wav").stores_float("16")


def test_module_loads_no_codec():
    code = (
        "import sys, openunmix.audio\n"
        "print([n for n in ('soundfile', 'soxr', 'av', 'mutagen') if n in sys.modules])"
    )
    root = Path(importlib.util.find_spec("openunmix").origin).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
