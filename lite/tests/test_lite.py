"""The light package by itself: no torch, and no module of the large package."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from openunmix_lite import (
    FileOptions,
    FilterOptions,
    LiteError,
    Model,
    cli,
    separate,
    separate_blocks,
    separate_file,
)
from openunmix_lite.fourier import normalised, overlap_add, stft_of_blocks
from openunmix_lite.wiener import Factors, power_spectral_density, separate_frames, stereo_mean

VECTORS = Path(__file__).parents[2] / "docs" / "onnx"
RATE = 44100


@pytest.fixture(scope="session")
def bundled():
    return Model()


@pytest.fixture(scope="session")
def tiny():
    return Model(VECTORS / "tiny.onnx")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def noise(rng, channels, samples, level=0.1):
    return (level * rng.standard_normal((channels, samples))).astype(np.float32)


def write(name, waveform, rate=RATE, **options):
    soundfile.write(name, waveform.T, rate, **options)
    return Path(name)


def vector(name, *shape):
    return np.fromfile(VECTORS / f"{name}.f32", "<f4").reshape(shape)


def test_torch_is_not_loaded():
    code = "import openunmix_lite.cli, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_each_step_agrees_with_the_vectors_for_ports(tiny):
    mixture = vector("mixture", 2, -1)
    spectra = np.concatenate(list(stft_of_blocks([mixture], tiny.n_fft, tiny.n_hop, 100)))
    expected = vector("stft", -1, 2, 129, 2)
    assert np.abs(spectra - (expected[..., 0] + 1j * expected[..., 1])).max() < 1e-4
    masks, _ = tiny.masks(np.abs(spectra), len(spectra))
    assert np.abs(masks - vector("masks", *masks.shape)).max() < 1e-4
    found = separate(mixture, 8000, tiny)
    estimates = vector("estimates", 2, 2, -1)
    assert np.abs(np.stack(list(found.values())) - estimates).max() < 1e-4 * estimates.max()


@pytest.mark.parametrize("samples", [1, 100, 128, 129, 5000])
@pytest.mark.parametrize("hop", [64, 100])
def test_the_inverse_transform_gives_the_signal_back(rng, samples, hop):
    signal = noise(rng, 2, samples)
    spectra = stft_of_blocks(np.array_split(signal, 3, axis=1), 256, hop, 10)
    parts = (overlap_add([part.swapaxes(0, 1)[None]], len(part), 256, hop) for part in spectra)
    joined = np.concatenate(list(normalised(parts, 256, hop)), axis=-1)[0, :, :samples]
    np.testing.assert_allclose(joined, signal, atol=1e-5)


def test_means_of_two_channels_are_those_of_the_matrix_inverse(rng):
    """The closed form against LU in double precision."""
    p, q = rng.random((2, 3, 1, 5))
    c = rng.standard_normal((3, 1, 5)) + 1j * rng.standard_normal((3, 1, 5))
    psd = rng.random((3, 4, 5))
    x = rng.standard_normal((2, 4, 5)) + 1j * rng.standard_normal((2, 4, 5))
    found = stereo_mean(psd, Factors(p, c, q), x).swapaxes(0, 1)
    covariance = np.array([[p, p * c.conj()], [p * c, p * np.abs(c) ** 2 + q]])
    weighted = np.moveaxis(psd * covariance, (0, 1), (-2, -1))  # (sources, frames, bins, 2, 2)
    total = weighted.sum(axis=0) + 1e-5 * np.eye(2)
    expected = (weighted @ np.linalg.inv(total) @ np.moveaxis(x, 0, -1)[..., None])[..., 0]
    np.testing.assert_allclose(np.moveaxis(found, 0, -1), expected, atol=1e-6)


@pytest.mark.parametrize("niter", [1, 2])
@pytest.mark.parametrize("channels", [1, 2])
def test_sources_with_the_residual_sum_to_the_mixture(rng, niter, channels):
    shape = (channels, 20, 33)
    mixture = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
    masks = rng.random((3, *shape)).astype(np.float32)
    options = FilterOptions(niter=niter, residual="rest")
    sources = np.concatenate(list(separate_frames(masks, mixture, options)), axis=2)
    np.testing.assert_allclose(sources.sum(axis=0), mixture, atol=1e-3)


def test_the_density_is_the_mean_power_of_the_channels():
    source = np.array([3 + 4j, 0]).reshape(1, 2, 1, 1)
    assert power_spectral_density(source) == 12.5


def test_the_result_does_not_depend_on_the_blocks(rng, bundled):
    signal = noise(rng, 2, 30 * RATE // 10)
    parts = {}
    for size in (777, 65536, 10**7):
        blocks = (signal[:, start : start + size] for start in range(0, signal.shape[1], size))
        parts[size] = np.concatenate(list(separate_blocks(bundled, blocks)), axis=-1)
    assert parts[777].shape == (4, *signal.shape)
    np.testing.assert_allclose(parts[777], parts[65536], atol=1e-6)
    np.testing.assert_allclose(parts[777], parts[10**7], atol=1e-6)


def test_the_first_part_does_not_wait_for_more(rng, tiny):
    is_out = threading.Event()

    def blocks():
        yield noise(rng, 2, 64 * 1600)  # the first chunk, and windows for its lookahead
        assert is_out.wait(10)

    parts = separate_blocks(tiny, blocks())
    assert next(parts).shape[-1] > 0
    is_out.set()
    assert sum(part.shape[-1] for part in parts) > 64 * 1200


def test_chunks_with_lookahead_are_the_whole_signal(rng, tiny, monkeypatch):
    """A network forgets what is far, and the lookahead is longer than that."""
    monkeypatch.setattr("openunmix_lite.stream.FIRST_CHUNK", 300)
    monkeypatch.setattr("openunmix_lite.stream.CHUNK", 300)
    monkeypatch.setattr("openunmix_lite.stream.LOOKAHEAD", 200)
    signal = noise(rng, 2, 64 * 1500)
    in_chunks = np.concatenate(list(separate_blocks(tiny, [signal])), axis=-1)
    monkeypatch.setattr("openunmix_lite.stream.LOOKAHEAD", 2000)
    whole = np.concatenate(list(separate_blocks(tiny, [signal])), axis=-1)
    np.testing.assert_allclose(in_chunks, whole, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 2, 1000, 5000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_estimates_have_the_length_of_any_clip(rng, bundled, samples, channels, rate):
    found = separate(noise(rng, channels, samples), rate, bundled)
    assert list(found) == ["vocals", "drums", "bass", "other"]
    assert {estimate.shape for estimate in found.values()} == {(channels, samples)}
    assert all(np.isfinite(estimate).all() for estimate in found.values())


def test_silence_stays_silent(bundled):
    found = separate(np.zeros((2, RATE), np.float32), RATE, bundled)
    assert max(np.abs(estimate).max() for estimate in found.values()) == 0


def test_equal_channels_are_separated_without_bursts(rng, bundled):
    """The covariance of the mixture is singular then, up to the noise."""
    song = np.repeat(noise(rng, 1, RATE), 2, axis=0)
    found = separate(song, RATE, bundled)
    np.testing.assert_allclose(sum(found.values()), song, atol=1e-3)


def test_the_command_writes_a_file_per_target(rng, capsys):
    write("song.wav", noise(rng, 2, RATE), subtype="FLOAT")
    assert cli.main(["song.wav"]) == 0
    names = sorted(path.name for path in Path("song_umxs").iterdir())
    assert names == ["bass.wav", "drums.wav", "other.wav", "vocals.wav"]
    info = soundfile.info("song_umxs/vocals.wav")
    assert (info.frames, info.samplerate, info.subtype) == (RATE, RATE, "FLOAT")
    assert "song.wav: 1 s in" in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == ["song.wav", "song_umxs"]


def test_the_residual_and_the_targets_sum_to_the_input(rng):
    song = write("song.wav", noise(rng, 2, 20000), 22050, subtype="FLOAT")
    cli.main(["song.wav", "--targets", "vocals", "--residual", "rest", "--outdir", "out"])
    parts = [soundfile.read(f"out/song/{name}.wav")[0] for name in ("vocals", "rest")]
    np.testing.assert_allclose(sum(parts), soundfile.read(song)[0], atol=1e-6)


def test_sums_of_targets_replace_them(rng):
    write("song.wav", noise(rng, 2, 20000))
    sums = '{"band": ["drums", "bass", "other"]}'
    assert cli.main(["song.wav", "--aggregate", sums, "--ext", "flac"]) == 0
    assert [path.name for path in Path("song_umxs").iterdir()] == ["band.flac"]


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "opus", "mp3"])
def test_formats_of_outputs(rng, extension):
    song = write("song.flac", noise(rng, 2, RATE, level=0.5))
    assert cli.main([str(song), "--ext", extension, "--targets", "drums"]) == 0
    assert Path(f"song_umxs/drums.{extension}").stat().st_size > 1000


def test_what_would_clip_is_turned_down_together(rng, capsys):
    loud = write("loud.wav", noise(rng, 2, RATE, level=2), subtype="FLOAT")
    assert cli.main([str(loud), "--bit-depth", "16"]) == 0
    assert "all stems scaled by 0." in capsys.readouterr().err
    peaks = [np.abs(soundfile.read(path)[0]).max() for path in Path("loud_umxs").iterdir()]
    assert max(peaks) == pytest.approx(0.9999, abs=1e-3)


def test_tags_are_copied(rng):
    with soundfile.SoundFile("song.flac", "w", RATE, 2, "PCM_16") as file:
        file.title = "A song"
        file.write(noise(rng, 2, 20000).T)
    cli.main(["song.flac", "--ext", "flac", "--targets", "bass"])
    with soundfile.SoundFile("song_umxs/bass.flac") as file:
        assert file.title == "A song"


def test_an_excerpt(rng, bundled):
    song = write("song.wav", noise(rng, 2, 3 * RATE))
    result = separate_file(song, "out", bundled, FileOptions(start=1, duration=0.5))
    assert soundfile.info(result.outputs["drums"]).frames == RATE // 2
    with pytest.raises(LiteError, match=r"lasts 3.000 s; it has nothing from 5 s on"):
        separate_file(song, "out", bundled, FileOptions(start=5))


def test_mp3_is_read(rng, bundled):
    song = write("song.mp3", noise(rng, 2, RATE))
    result = separate_file(song, "out", bundled)
    assert soundfile.info(result.outputs["drums"]).frames == RATE


def test_without_the_extra_it_is_named(rng, bundled, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    Path("song.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(500))
    write("six.wav", noise(rng, 6, 500))
    for name in ("song.m4a", "six.wav"):
        with pytest.raises(LiteError, match=rf"{name}.*openunmix-lite\[formats\]"):
            separate_file(name, "out", bundled)


def test_files_that_cannot_be_separated_leave_nothing_behind(rng, capsys):
    write("whole.flac", noise(rng, 2, 2 * RATE))
    Path("cut.flac").write_bytes(Path("whole.flac").read_bytes()[:50_000])
    Path("text.wav").write_text("no audio at all")
    Path("empty.wav").touch()
    write("nan.wav", np.full((2, 5000), np.nan, np.float32), subtype="FLOAT")
    write("loud.wav", 1e37 * noise(rng, 2, 5000), subtype="FLOAT")
    names = ["cut.flac", "text.wav", "empty.wav", "nan.wav", "loud.wav", "missing.wav"]
    assert cli.main([*names, "whole.flac", "--outdir", "out", "--quiet"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(names)
    assert all(name in line for name, line in zip(names, lines, strict=True))
    assert [path.name for path in Path("out").iterdir()] == ["whole"]


def test_the_largest_values_that_are_allowed_can_be_separated(rng, bundled):
    found = separate(9e29 * rng.uniform(-1, 1, (2, RATE)).astype(np.float32), RATE, bundled)
    assert all(np.isfinite(estimate).all() for estimate in found.values())


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_estimates_that_are_not_finite_are_not_written(rng, bundled, monkeypatch):
    """`max` of a number and NaN is the number: files full of NaN were written."""
    song = write("song.wav", noise(rng, 2, 5000))
    broken = np.full((4, 5, 2, 2049), np.nan, np.float32)
    monkeypatch.setattr(bundled, "masks", lambda magnitude, frames, states: (broken, states))
    with pytest.raises(LiteError, match=r"song.wav.* not finite"):
        separate_file(song, "out", bundled)
    assert not Path("out").exists()


def test_sums_may_be_tuples(rng, bundled):
    song = write("song.wav", noise(rng, 2, 5000))
    options = FileOptions(aggregate={"band": ("drums", "bass")})
    assert list(separate_file(song, "out", bundled, options).outputs) == ["band"]


def test_an_input_is_never_overwritten(rng, capsys):
    Path("song_umxs").mkdir()
    song = write("song_umxs/drums.wav", noise(rng, 2, 5000))
    before = song.read_bytes()
    with pytest.raises(LiteError, match="would be overwritten"):
        separate_file(song, "song_umxs", Model())
    assert song.read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["--ext", "xyz"],
        ["--targets", "piano"],
        ["--bit-depth", "16", "--ext", "ogg"],
        ["--niter", "-1"],
        ["--wiener-win-len", "0"],
        ["--aggregate", "[1]"],
        ["--aggregate", '{"a": 1}'],
        ["--aggregate", '{"a": [["drums"]]}'],
        ["--aggregate", '{"../x": ["drums"]}'],
        ["--residual", "drums"],
        ["--start", "-1"],
        ["--start", "nan"],
        ["--duration", "inf"],
        ["--threads", "0"],
    ],
)
def test_wrong_usage_ends_with_2(rng, arguments, capsys):
    write("song.wav", noise(rng, 2, 5000))
    with pytest.raises(SystemExit) as end:
        cli.main(["song.wav", *arguments])
    assert end.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_file_that_is_no_export_is_refused(capsys):
    Path("text.onnx").write_text("no graph")
    for name, message in (("text.onnx", "is no export"), ("missing.onnx", "No such file")):
        assert cli.main(["song.wav", "--model", name]) == 1
        assert message in capsys.readouterr().err


def test_inputs_of_the_same_name_get_folders_of_their_own():
    inputs = [Path("a/song.wav"), Path("b/song.mp3"), Path("c/Song.wav")]
    folders = cli.output_folders(inputs, None, "umxs")
    assert [str(folder) for folder in folders] == ["song_umxs", "song-2_umxs", "Song-3_umxs"]


def test_folders_are_searched(rng):
    Path("album/cd").mkdir(parents=True)
    write("album/one.wav", noise(rng, 2, 500))
    write("album/cd/two.flac", noise(rng, 2, 500))
    Path("album/cover.jpg").touch()
    found = cli.find_inputs([Path("album")])
    assert [path.name for path in found] == ["two.flac", "one.wav"]
