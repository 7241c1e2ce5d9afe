"""Files in, files out: formats, rates, channels, what adds up, what is left behind."""

from __future__ import annotations

import mutagen
import pytest
import soundfile
import torch
from helpers.checks import decibels
from helpers.results import left_in, read, total
from helpers.sounds import mixture, noise, tone

from openunmix.audio import (
    OUTPUT_FORMATS,
    STEM_MP4,
    AudioSource,
    _wav,
    probe,
    read_audio,
    resample,
    writing,
)
from openunmix.audio.channels import downmix_to_stereo
from openunmix.audio.encoders import supported_sample_rate
from openunmix.errors import AudioFileError
from openunmix.predict import files
from openunmix.predict.files import FileOptions, separate_file
from openunmix.predict.stream import StreamConfig, separate_waveform

FORMATS = [
    (".wav", "16"),
    (".wav", "24"),
    (".wav", "32f"),
    (".flac", "16"),
    (".flac", "24"),
    (".ogg", None),
    (".opus", None),
    (".mp3", None),
    (".m4a", None),
]


@pytest.mark.parametrize(("extension", "depth"), FORMATS)
def test_every_format_has_the_length_and_the_rate_of_the_input(
    song, separator, tmp_path, extension, depth
):
    waveform = mixture(30001)
    options = FileOptions(extension, depth)
    result = separate_file(song(waveform, 44100), tmp_path / "out", separator, options)
    rate = supported_sample_rate(extension, 44100)
    assert left_in(tmp_path / "out") == [f"drums{extension}", f"vocals{extension}"]
    assert (result.sample_rate, result.channels, result.duration) == (rate, 2, 30001 / 44100)
    for path in result.outputs.values():
        assert read_audio(path).waveform.shape == (2, round(30001 * rate / 44100))
        assert probe(path).sample_rate == rate
    if depth:
        assert probe(path).codec == {"32f": "float"}.get(depth, f"pcm_{depth}")


def test_formats_hold_the_same_estimates(song, separator, tmp_path):
    path = song(mixture(16000))
    wanted = read(separate_file(path, tmp_path / "wav", separator))
    for extension, depth in FORMATS:
        result = separate_file(path, tmp_path / "out", separator, FileOptions(extension, depth))
        for name, estimate in read(result).items():
            if result.sample_rate == 8000:
                limit = -40 if depth else -10
                assert decibels(estimate - wanted[name], wanted[name]) < limit


def test_one_stem_mp4_holds_the_mixture_and_all_stems(song, separator, tmp_path):
    path = song(mixture(44100), 44100)
    result = separate_file(path, tmp_path / "out", separator, FileOptions(STEM_MP4))
    assert left_in(tmp_path / "out") == ["out.stem.mp4"]
    streams = [read_audio(result.outputs["vocals"], stream=number).waveform for number in range(3)]
    wanted = read(separate_file(path, tmp_path / "wav", separator))
    for stream, reference in zip(streams, [mixture(44100), *wanted.values()], strict=True):
        assert stream.shape == reference.shape
        assert decibels(stream - reference, reference) < -15


@pytest.mark.parametrize(
    ("rate", "channels", "model_rate", "model_channels"),
    [
        (44100, 2, 44100, 2),
        (48000, 1, 44100, 2),
        (8000, 2, 44100, 2),
        (96000, 2, 44100, 2),
        (22050, 1, 16000, 1),
        (44100, 2, 16000, 1),
        (44100, 6, 16000, 1),
    ],
)
@pytest.mark.parametrize("at_model_rate", [False, True])
def test_outputs_line_up_under_the_input(
    song, tiny_separator, tmp_path, rate, channels, model_rate, model_channels, at_model_rate
):
    made = tiny_separator(sample_rate=model_rate, nb_channels=model_channels)
    samples = rate // 3 + 1
    options = FileOptions(model_rate=at_model_rate, residual="rest")
    waveform = noise(samples, channels)
    result = separate_file(song(waveform, rate), tmp_path / "out", made, options)
    written = model_rate if at_model_rate else rate
    for path in result.outputs.values():
        shape = (channels, round(samples * written / rate))
        assert soundfile.info(path).samplerate == written
        assert read_audio(path).waveform.shape == shape
    if not at_model_rate:
        assert decibels(total(result) - waveform, waveform) < -90


def test_surround_is_mixed_down_for_a_stereo_model(song, separator, tmp_path, caplog):
    waveform = noise(4000, channels=6)
    half = 0.5**0.5
    left, right = waveform[0] + half * waveform[4], waveform[1] + half * waveform[5]
    stereo = torch.stack([left, right]) + half * waveform[2]
    path = song(waveform)
    result = separate_file(path, tmp_path / "out", separator, FileOptions(residual="residual"))
    assert result.channels == 2
    assert f"{path}: 6 channels mixed down to stereo" in caplog.text
    assert decibels(total(result) - stereo, stereo) < -90


@pytest.mark.parametrize("model_channels", [1, 2])
def test_mono_is_the_mean_of_dual_mono(song, tiny_separator, tmp_path, model_channels):
    made = tiny_separator(nb_channels=model_channels)
    one = tone(8000, channels=1) + noise(8000, channels=1)
    mono = read(separate_file(song(one), tmp_path / "mono", made))
    dual = read(separate_file(song(one.expand(2, -1)), tmp_path / "dual", made))
    for name, estimate in dual.items():
        assert mono[name].shape == (1, 8000)
        assert mono[name].abs().max() > 0.01
        assert estimate.shape == (2, 8000)
        assert decibels(estimate.mean(dim=0, keepdim=True) - mono[name], mono[name]) < -90


@pytest.mark.parametrize("samples", [1, 2, 63, 64, 65, 128, 129])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_clips_shorter_than_a_window(song, separator, tmp_path, samples, rate):
    waveform = noise(samples)
    options = FileOptions(residual="residual")
    result = separate_file(song(waveform, rate), tmp_path / "out", separator, options)
    assert decibels(total(result) - waveform, waveform) < -90


@pytest.mark.parametrize("extension", [".wav", ".flac", ".mp3", STEM_MP4])
def test_silence_stays_silent(song, separator, tmp_path, extension):
    path = song(torch.zeros(2, 8000))
    result = separate_file(path, tmp_path / "out", separator, FileOptions(extension))
    assert (result.peak, result.gain) == (0, 1)
    assert all(estimate.abs().max() < 1e-4 for estimate in read(result).values())


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
@pytest.mark.parametrize("niter", [0, 1, 2])
@pytest.mark.parametrize(("extension", "depth"), [(".wav", "32f"), (".wav", "24"), (".flac", "24")])
def test_outputs_and_residual_null_against_the_input(
    song, tiny_separator, tmp_path, rate, niter, extension, depth
):
    made = tiny_separator(sample_rate=44100.0, niter=niter, residual=True)
    waveform = mixture(rate // 2)
    options = FileOptions(extension, depth, residual="residual")
    result = separate_file(song(waveform, rate), tmp_path / "out", made, options)
    assert result.gain == 1
    assert decibels(total(result) - waveform, waveform) < -90


@pytest.mark.parametrize(("extension", "depth"), [(".wav", "32f"), (".wav", "24"), (".flac", "24")])
def test_with_one_iteration_the_targets_alone_null(
    song, tiny_separator, tmp_path, extension, depth
):
    made = tiny_separator(n_fft=1024, n_hop=256, sample_rate=44100.0)
    for network in made.target_models.values():
        network.output_mean.data.add_(2.0)  # no bin is silent in all targets
    waveform = mixture(44100)
    options = FileOptions(extension, depth)
    result = separate_file(song(waveform, 44100), tmp_path / "out", made, options)
    assert decibels(total(result) - waveform, waveform) < -90


@pytest.mark.parametrize(("extension", "depth"), [(".wav", "24"), (".flac", "24"), (".wav", "16")])
def test_loud_outputs_of_integer_formats_get_one_gain(song, separator, tmp_path, extension, depth):
    waveform = 6 * mixture(16000)
    options = FileOptions(extension, depth, residual="residual")
    path = song(waveform)
    floats = separate_file(path, tmp_path / "float", separator, FileOptions(residual="residual"))
    result = separate_file(path, tmp_path / "out", separator, options)
    assert floats.gain == 1
    assert floats.peak == result.peak == max(e.abs().max() for e in read(floats).values()) > 1
    assert 0.99 < result.gain * result.peak < 1
    wanted = read(floats)
    for name, estimate in read(result).items():
        limit = -90 if depth == "24" else -60
        assert decibels(estimate - result.gain * wanted[name], waveform) < limit
    if depth == "24":
        assert decibels(total(result) - result.gain * waveform, waveform) < -90


def test_gain_of_a_stem_mp4_is_for_its_mixture_too(song, tiny_separator, tmp_path):
    quiet = tiny_separator(niter=0)
    for network in quiet.target_models.values():
        network.output_scale.data.zero_()
        network.output_mean.data.fill_(0.1)
    waveform = tone(44100, 440.0, 44100, amplitude=2.0)
    options = FileOptions(STEM_MP4)
    result = separate_file(song(waveform, 44100), tmp_path / "out", quiet, options)
    assert result.peak == pytest.approx(2.0, abs=1e-3)
    assert result.gain == pytest.approx(0.5, abs=1e-3)
    stream = read_audio(result.outputs["vocals"]).waveform
    assert decibels(stream - result.gain * waveform, stream) < -20


def test_sums_replace_the_targets(song, tiny_separator, tmp_path):
    made = tiny_separator(("a", "b", "c"))
    path = song(mixture(8000))
    parts = read(separate_file(path, tmp_path / "parts", made, FileOptions(residual="rest")))
    sums = {"ab": ["a", "b"], "others": ["c", "rest"]}
    options = FileOptions(residual="rest", aggregate=sums)
    result = separate_file(path, tmp_path / "sums", made, options)
    written = read(result)
    assert left_in(tmp_path / "sums") == ["ab.wav", "others.wav"]
    for name, names in sums.items():
        wanted = sum(parts[part] for part in names)
        assert decibels(written[name] - wanted, wanted) < -100


def test_residual_has_its_name(song, separator, tmp_path):
    result = separate_file(song(noise(800)), tmp_path, separator, FileOptions(residual="rest"))
    assert list(result.outputs) == ["vocals", "drums", "rest"]
    assert (tmp_path / "rest.wav").is_file()


@pytest.mark.parametrize("extension", [".wav", STEM_MP4])
def test_target_may_be_called_mixture(song, tiny_separator, tmp_path, extension):
    made = tiny_separator(("mixture", "drums"))
    waveform = mixture(44100)
    path = song(waveform, 44100)
    wanted = read(separate_file(path, tmp_path / "wav", made))
    result = separate_file(path, tmp_path / "out", made, FileOptions(extension))
    if extension == ".wav":
        assert decibels(wanted["mixture"] - waveform, waveform) > -20
        return
    streams = [read_audio(result.outputs["drums"], stream=number).waveform for number in range(3)]
    for stream, reference in zip(streams, [waveform, *wanted.values()], strict=True):
        assert decibels(stream - reference, reference) < -15


@pytest.mark.parametrize(
    ("start", "duration", "first", "last"),
    [
        (0.0, None, 0, 8000),
        (0.25, None, 2000, 8000),
        (0.25, 0.5, 2000, 6000),
        (0.25, -1.0, 2000, 8000),
        (0.0, 0.125, 0, 1000),
        (0.75, 9.0, 6000, 8000),
    ],
)
def test_part_of_a_file(song, separator, tmp_path, start, duration, first, last):
    waveform = mixture(8000)
    source = AudioSource(song(waveform), start=start, duration=duration)
    options = FileOptions(residual="residual")
    result = separate_file(source, tmp_path / "out", separator, options)
    part = waveform[:, first:last]
    assert decibels(total(result) - part, part) < -90


@pytest.mark.parametrize("residual", [None, "residual"])
def test_file_gives_what_the_engine_gives(song, tiny_separator, tmp_path, residual):
    made = tiny_separator(niter=2, residual=residual is not None)
    waveform = mixture(40000)
    result = separate_file(song(waveform), tmp_path / "out", made, FileOptions(residual=residual))
    wanted = separate_waveform(made, waveform)
    written = read(result)
    for name, estimate in zip(made.target_models, wanted, strict=False):
        assert torch.equal(written[name], estimate)
    if residual:
        rest = waveform - wanted[:-1].sum(dim=0)
        assert decibels(written["residual"] - rest, rest) < -100


@pytest.mark.parametrize("samples", [1, 2, 10, 63, 22051, 200000])
@pytest.mark.parametrize("rate", [22050, 44100])
def test_estimates_of_the_model_are_converted_to_the_rate_of_the_input(
    song, separator, tmp_path, samples, rate
):
    waveform = mixture(samples)
    result = separate_file(song(waveform, rate), tmp_path / "out", separator)
    at_model_rate = resample(waveform, rate, 8000)
    wanted = torch.zeros(2, 2, samples)
    if at_model_rate.shape[-1]:
        estimates = resample(separate_waveform(separator, at_model_rate), 8000, rate)
        length = min(samples, estimates.shape[-1])
        wanted[..., :length] = estimates[..., :length]
    written = torch.stack(list(read(result).values()))
    torch.testing.assert_close(written, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "model_channels"), [(1, 1), (1, 2), (2, 1), (2, 2), (6, 1), (6, 2)]
)
@pytest.mark.parametrize("model_rate", [False, True])
def test_exact_separation_lines_up_as_well(
    song, tiny_separator, tmp_path, channels, model_channels, model_rate
):
    made = tiny_separator(nb_channels=model_channels)
    config = StreamConfig(chunk=300, exact=True)
    options = FileOptions(residual="residual", model_rate=model_rate)
    path = song(noise(66000, channels), 11025)
    seconds = []
    result = separate_file(path, tmp_path / "out", made, options, config, seconds.append)
    assert seconds[-1] == pytest.approx(66000 / 11025, abs=1e-3)
    assert seconds == sorted(seconds)
    reference = read_audio(path).waveform
    if (channels, model_channels) == (6, 2):
        reference = torch.from_numpy(downmix_to_stereo(reference.numpy()))
    if model_rate:
        reference = resample(reference, 11025, 8000)
    assert decibels(total(result) - reference, reference) < -90
    if model_rate and channels == model_channels:
        wanted = separate_waveform(made, reference, config)
        torch.testing.assert_close(torch.stack(list(read(result).values()))[:-1], wanted)


@pytest.mark.parametrize("extension", [".wav", ".flac", ".mp3", ".m4a", STEM_MP4])
@pytest.mark.parametrize("rate", [4000, 7350, 65537, 96001, 768000])
def test_odd_rates_are_written_in_every_format(song, separator, tmp_path, rate, extension):
    """FLAC at 96001 Hz: "problem with initialization of the flac decoder"."""
    path = song(noise(rate // 4), rate)
    result = separate_file(path, tmp_path / "out", separator, FileOptions(extension))
    for output in result.outputs.values():
        assert probe(output).sample_rate == result.sample_rate
        assert probe(output).duration == pytest.approx(0.25, abs=0.03)


def test_error_of_an_encoder_names_the_outputs_and_not_a_temporary_file(
    song, separator, tmp_path, monkeypatch
):
    monkeypatch.setattr(writing, "supported_sample_rate", lambda extension, rate: rate)
    with pytest.raises(AudioFileError, match=r"/out' could not be written: [^<.]*$"):
        separate_file(song(noise(9000), 768000), tmp_path / "out", separator, FileOptions(".flac"))


def test_input_of_unknown_length_outgrows_32_bits(song, separator, tmp_path, monkeypatch):
    """A FLAC from a pipe, hours long: the stems reached the 4 GiB of a WAV, and all was lost."""
    monkeypatch.setattr(_wav, "RIFF_LIMIT", 10_000)
    path = tmp_path / "song.flac"
    soundfile.write(path, noise(30001).T.numpy(), 8000)
    content = bytearray(path.read_bytes())
    content[21:26] = bytes([content[21] & 0xF0, 0, 0, 0, 0])  # the total in STREAMINFO
    path.write_bytes(content)
    for extension in (".wav", ".flac", ".mp3"):
        result = separate_file(path, tmp_path / "out", separator, FileOptions(extension))
        assert {probe(output).samples for output in result.outputs.values()} == {30001}
    flac = OUTPUT_FORMATS[".flac"]._replace(max_samples=10)
    monkeypatch.setattr(files, "OUTPUT_FORMATS", {".flac": flac})
    with pytest.raises(AudioFileError, match=r"holds 10; write \.wav"):
        separate_file(path, tmp_path / "out", separator, FileOptions(".flac"))


def test_progress_counts_the_seconds(song, separator, tmp_path):
    seconds = []
    separate_file(song(noise(16000)), tmp_path, separator, progress=seconds.append)
    assert seconds == sorted(seconds)
    assert seconds[-1] == 2.0


@pytest.mark.parametrize(("extension", "depth"), [*FORMATS, (STEM_MP4, None)])
def test_tags_are_copied(separator, tmp_path, extension, depth):
    soundfile.write(tmp_path / "song.flac", noise(4410).T.numpy(), 44100)
    tagged = mutagen.File(tmp_path / "song.flac")
    tagged["title"] = "Ein Lied"
    tagged.save()
    options = FileOptions(extension, depth)
    result = separate_file(tmp_path / "song.flac", tmp_path / "out", separator, options)
    for path in result.outputs.values():
        assert "Ein Lied" in str(mutagen.File(path).tags)
