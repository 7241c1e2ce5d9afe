"""The command ``umx``: what it writes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from helpers.checks import decibels
from helpers.commands import TARGETS, manifest, song, total, tree
from helpers.models import save_model
from helpers.sounds import mixture, noise

from openunmix import cli
from openunmix.audio import read_audio
from openunmix.cli import _separate
from openunmix.cli._separate_options import SOUND_OPTIONS, parser
from openunmix.predict.marks import MARK_NAME
from openunmix.predict.memory import estimate_memory
from openunmix.predict.stream import StreamConfig, separate_waveform
from openunmix.pretrained import load_separator

pytestmark = pytest.mark.usefixtures("work_folder")


def test_song_becomes_its_sources(umx, capsys):
    song()
    assert umx("song.wav") == 0
    assert tree() == ["song.wav", *(f"song_tiny/{name}.wav" for name in sorted(TARGETS))]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "umx: song.wav: 1 s in " in captured.err
    assert "in song_tiny" in captured.err


def test_outdir_holds_a_folder_for_each_song(umx):
    song("a.wav")
    song("deep/b.wav")
    assert umx("a.wav", "deep", "--outdir", "new/out", "--targets", "drums", "vocals") == 0
    wanted = ["a/drums.wav", "a/vocals.wav", "b/drums.wav", "b/vocals.wav"]
    assert tree("new/out") == wanted


@pytest.mark.parametrize("extension", ["flac", ".FLAC", "mp3", ".stem.mp4"])
def test_extension_chooses_the_format(umx, extension):
    song(waveform=mixture(44100), sample_rate=44100)
    assert umx("song.wav", "--ext", extension, "--targets", "vocals") == 0
    suffix = "." + extension.lower().lstrip(".")
    name = "song_tiny" if suffix == ".stem.mp4" else "vocals"
    assert tree("song_tiny") == [f"{name}{suffix}"]


@pytest.mark.parametrize(
    ("arguments", "subtype"),
    [
        ([], "FLOAT"),
        (["--bit-depth", "32"], "FLOAT"),
        (["--bit-depth", "24"], "PCM_24"),
        (["--bit-depth", "16"], "PCM_16"),
        (["--ext", ".flac"], "PCM_24"),
        (["--ext", ".flac", "--bit-depth", "16"], "PCM_16"),
    ],
)
def test_bit_depth(umx, arguments, subtype):
    song()
    assert umx("song.wav", *arguments) == 0
    suffix = ".flac" if "--ext" in arguments else ".wav"
    assert soundfile.info(f"song_tiny/vocals{suffix}").subtype == subtype


def test_rate_of_the_input_or_of_the_model(umx):
    song(waveform=noise(11025), sample_rate=22050)
    assert umx("song.wav") == 0
    assert read_audio("song_tiny/vocals.wav").sample_rate == 22050
    assert read_audio("song_tiny/vocals.wav").waveform.shape == (2, 11025)
    assert umx("song.wav", "--rate", "model") == 0
    assert read_audio("song_tiny/vocals.wav").sample_rate == 8000
    assert read_audio("song_tiny/vocals.wav").waveform.shape == (2, 4000)


@pytest.mark.parametrize("arguments", [[], ["--niter", "0"], ["--niter", "2", "--softmask"]])
def test_with_a_residual_everything_adds_up(umx, arguments):
    waveform = mixture(8000)
    song(waveform=waveform)
    assert umx("song.wav", "--residual", "rest", *arguments) == 0
    assert "rest.wav" in tree("song_tiny")
    assert decibels(total("song_tiny") - waveform, waveform) < -90


def test_part_of_a_song(umx):
    waveform = mixture(16000)
    song(waveform=waveform)
    arguments = ["--start", "0.5", "--duration", "0.25", "--residual"]
    assert umx("song.wav", *arguments) == 0
    part = waveform[:, 4000:6000]
    assert decibels(total("song_tiny") - part, part) < -90
    assert umx("song.wav", "--start", "0.5", "--duration", "-1") == 0
    assert read_audio("song_tiny/vocals.wav").waveform.shape == (2, 12000)


def test_sums(umx):
    song()
    sums = {"voice": ["vocals"], "rest": ["drums", "bass", "other", "residual"]}
    arguments = ["--aggregate", json.dumps(sums), "--residual"]
    assert umx("song.wav", *arguments) == 0
    assert tree("song_tiny") == ["rest.wav", "voice.wav"]
    assert decibels(total("song_tiny") - mixture(8000), mixture(8000)) < -90


@pytest.mark.parametrize(
    ("arguments", "settings", "config"),
    [
        ([], {}, {}),
        (["--niter", "0"], {"niter": 0}, {}),
        (["--niter", "2"], {"niter": 2}, {}),
        (["--wiener-win-len", "50"], {"wiener_win_len": 50}, {}),
        (["--wiener-win-len", "0"], {"wiener_win_len": None}, {}),
        (["--residual"], {"residual": True}, {}),
        (["--softmask", "--niter", "0"], {"softmask": True, "niter": 0}, {}),
        (["--targets", "bass", "drums"], {"targets": ["bass", "drums"]}, {}),
        (["--precision", "bf16"], {}, {"precision": "bf16"}),
        (["--exact"], {}, {"exact": True}),
        (["--max-memory", "99"], {}, {}),
        (["--no-cuda"], {}, {}),
    ],
)
def test_options_reach_the_engine(umx, model, stream_configs, arguments, settings, config):
    song(waveform=mixture(3 * 32000))
    assert umx("song.wav", "--device", "cpu", *arguments) == 0
    assert stream_configs == [StreamConfig(**config)]
    softmask = settings.pop("softmask", False)
    separator = load_separator(model, **settings)
    separator.softmask = softmask
    wanted = separate_waveform(separator, mixture(3 * 32000), StreamConfig(**config))
    for name, estimate in zip(separator.target_models, wanted, strict=False):
        assert torch.equal(read_audio(f"song_tiny/{name}.wav").waveform, estimate)


def test_existing_outputs_are_skipped(umx, capsys):
    song("a.wav")
    song("b.wav")
    assert umx("a.wav", "b.wav") == 0
    Path("b_tiny/bass.wav").unlink()
    before = os.stat("a_tiny/bass.wav").st_mtime_ns
    capsys.readouterr()
    assert umx("a.wav", "b.wav", "--skip-existing", "--json") == 0
    statuses = [record["status"] for record in manifest(capsys)["files"]]
    assert statuses == ["skipped", "done"]
    assert os.stat("a_tiny/bass.wav").st_mtime_ns == before
    assert Path("b_tiny/bass.wav").exists()
    assert umx("a.wav", "b.wav", "--skip-existing", "--dry-run", "--json") == 0
    statuses = [record["status"] for record in manifest(capsys)["files"]]
    assert statuses == ["skipped", "skipped"]


def statuses(umx, capsys, *arguments):
    """Run with --skip-existing; return what happened to each input."""
    capsys.readouterr()
    assert umx(*arguments, "--skip-existing", "--json", "--niter", "0") == 0
    return [record["status"] for record in manifest(capsys)["files"]]


@pytest.mark.parametrize("outdir", [[], ["--outdir", "out"]])
def test_song_is_never_skipped_for_another_of_its_name(umx, capsys, outdir):
    """`a/01.wav` was skipped, as `b/01.wav` had been done into the same name."""
    song("b/01.wav")
    assert statuses(umx, capsys, "b/01.wav", *outdir) == ["done"]
    shutil.copytree("b", "a")
    assert statuses(umx, capsys, "a/01.wav", *outdir) == ["done"]
    assert statuses(umx, capsys, "a", "b", *outdir) == ["skipped", "skipped"]
    before = tree()
    assert statuses(umx, capsys, ".", *outdir) == ["skipped", "skipped"]
    assert tree() == before


OTHER_RUNS = [
    *(["--duration", "0.5"], ["--start", "0.5"], ["--residual"], ["--targets", "bass", "drums"]),
    *(["--bit-depth", "16"], ["--ext", "flac"], ["--rate", "model"], ["--softmask"], ["--exact"]),
    *(["--wiener-win-len", "9"], ["--aggregate", '{"bass": ["drums"]}'], ["--niter", "1"]),
]


def test_other_settings_are_another_run(umx, capsys):
    """After --duration 1, the whole song counted as done."""
    song()
    assert statuses(umx, capsys, "song.wav") == ["done"]
    same = ["--bit-depth", "32", "--duration", "-1", "--ext", "WAV", "--quiet", "--device", "cpu"]
    assert statuses(umx, capsys, "song.wav", *same) == ["skipped"]
    for arguments in OTHER_RUNS:
        assert (
            umx("song.wav", "--niter", "0", "--dry-run", "--skip-existing", "--json", *arguments)
            == 0
        )
        assert json.loads(capsys.readouterr().out)["files"][0]["status"] == "planned", arguments


def test_other_weights_are_another_run(umx, capsys, tiny_separator, tmp_path):
    song()
    assert statuses(umx, capsys, "song.wav", "--outdir", "out") == ["done"]
    other = tiny_separator(TARGETS, network={"hidden_size": 16})
    other = save_model(tmp_path / "other" / "tiny", other)
    arguments = ["song.wav", "--outdir", "out", "--model", other]
    assert statuses(umx, capsys, *arguments) == ["done"]
    assert statuses(umx, capsys, *arguments) == ["skipped"]


def test_outputs_without_a_mark_are_made_again_with_a_word(umx, capsys, caplog):
    """Outputs of openunmix 1.3.0, or of a run that was killed: nobody knows of what they are."""
    song()
    assert statuses(umx, capsys, "song.wav") == ["done"]
    Path("song_tiny", MARK_NAME).unlink()
    caplog.clear()
    assert statuses(umx, capsys, "song.wav") == ["done"]
    assert "'song_tiny' was not made from 'song.wav' as it is" in caplog.text
    assert statuses(umx, capsys, "song.wav") == ["skipped"]


def test_run_that_ends_while_outputs_are_replaced_is_not_done(umx, capsys, monkeypatch):
    song()
    assert statuses(umx, capsys, "song.wav") == ["done"]
    with monkeypatch.context() as patch:
        patch.setattr(_separate, "write_mark", lambda *_: os.kill(os.getpid(), signal.SIGINT))
        assert umx("song.wav", "--niter", "0") == 130
    assert statuses(umx, capsys, "song.wav") == ["done"]


def test_every_option_either_changes_the_outputs_or_does_not():
    """A new option has to be in one of the lists, or --skip-existing would ignore it."""
    silent = "input version model outdir ext bit_depth skip_existing player device no_cuda help"
    silent += " max_memory dry_run quiet verbose json audio_backend"
    options = {action.dest for action in parser()._actions}
    assert options == {*silent.split(), *SOUND_OPTIONS}


def test_one_of_several_ways_to_the_same_file_is_enough(umx, capsys):
    path = song("deep/song.wav")
    other = song("other/song.wav")
    arguments = ["deep/song.wav", path.absolute(), "deep", "deep/*.wav", "deep/../deep/song.wav"]
    assert umx(*arguments, other, "--json", "--outdir", "out") == 0
    content = manifest(capsys)
    assert [record["input"] for record in content["files"]] == ["deep/song.wav", "other/song.wav"]
    assert {path.split("/")[0] for path in tree("out")} == {"song", "song-2"}


def test_chunks_shrink_to_fit_the_memory(umx, model, stream_configs):
    song()
    separator = load_separator(model)
    for chunk in (StreamConfig().chunk, StreamConfig().chunk // 4):
        needed = estimate_memory(separator, StreamConfig(chunk=chunk)) / 1e9
        assert umx("song.wav", "--max-memory", needed) == 0
        assert stream_configs.pop() == StreamConfig(chunk=chunk)


def test_memory_that_is_needed_is_enough(umx, capsys):
    song()
    assert umx("song.wav", "--max-memory", "0.001") == 2
    needed = capsys.readouterr().err.split("at least ")[1].split()[0]
    assert umx("song.wav", "--max-memory", needed) == 0


def test_entry_points_end_with_the_exit_code(model, monkeypatch, capsys):
    song()
    monkeypatch.setattr(sys, "argv", ["umx", "song.wav", "--model", model, "--quiet"])
    with pytest.raises(SystemExit) as end:
        cli.separate()
    assert end.value.code == 0
    monkeypatch.setattr(sys, "argv", ["umx-models", "path"])
    with pytest.raises(SystemExit) as end:
        cli.models()
    assert end.value.code == 0
    monkeypatch.setattr(sys, "argv", ["umx-train", "--no-such-option"])
    with pytest.raises(SystemExit) as end:
        cli.train()
    assert end.value.code == 2
