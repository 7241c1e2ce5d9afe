"""The command ``umx``."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from compare import decibels
from models import save_model
from synth import mixture, noise
from tqdm import tqdm
from weights_server import Behaviour, make_entry, pickled, serving, taking_at_most, tiny_network

from openunmix import cli, registry
from openunmix.audio import AudioWriter, read_audio
from openunmix.cli import _separate
from openunmix.cli._separate import main, parser
from openunmix.download import cached_path
from openunmix.engine import EngineConfig, estimate_memory, separate_waveform
from openunmix.errors import AudioFileError
from openunmix.files import separate_file
from openunmix.pretrained import load_separator
from openunmix.registry import MODELS

TARGETS = ("vocals", "drums", "bass", "other")


@pytest.fixture(autouse=True)
def _work_in_a_new_folder(tmp_path, monkeypatch):
    for name in ("OPENUNMIX_MIRROR", "OPENUNMIX_OFFLINE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def model(tiny_separator, tmp_path):
    return str(save_model(tmp_path / "tiny", tiny_separator(TARGETS)))


@pytest.fixture
def bundled(tiny_separator, tmp_path, monkeypatch):
    """Bundle a tiny model."""
    monkeypatch.setattr(registry, "_WEIGHTS", tmp_path / "weights")
    return save_model(tmp_path / "weights" / "umxs", tiny_separator(TARGETS))


@pytest.fixture
def umx(model):
    """Return a function that runs the command with a tiny model and gives its exit code."""

    def run(*arguments):
        return exit_code("--model", model, *arguments)

    return run


@pytest.fixture
def engine_configs(monkeypatch):
    """Return a list that gets the settings of the engine for each file."""
    configs = []

    def spy(source, folder, separator, options, config, progress):
        configs.append(config)
        return separate_file(source, folder, separator, options, config, progress)

    monkeypatch.setattr(_separate, "separate_file", spy)
    return configs


def exit_code(*arguments):
    """Run the command; return its exit code."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code


def song(name="song.wav", waveform=None, sample_rate=8000, subtype="FLOAT"):
    """Write a mixture."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    waveform = mixture(8000) if waveform is None else waveform
    soundfile.write(name, waveform.T.numpy(), sample_rate, subtype)
    return Path(name)


def tree(folder="."):
    """Names of all files below a folder, hidden ones included."""
    paths = (path for path in Path(folder).rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def total(folder):
    """Sum of the files in a folder."""
    return sum(read_audio(path).waveform for path in sorted(Path(folder).iterdir()))


def manifest(capsys):
    """Parse what is on stdout."""
    return json.loads(capsys.readouterr().out)


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
def test_options_reach_the_engine(umx, model, engine_configs, arguments, settings, config):
    song(waveform=mixture(3 * 32000))
    assert umx("song.wav", "--device", "cpu", *arguments) == 0
    assert engine_configs == [EngineConfig(**config)]
    softmask = settings.pop("softmask", False)
    separator = load_separator(model, **settings)
    separator.softmask = softmask
    wanted = separate_waveform(separator, mixture(3 * 32000), EngineConfig(**config))
    for name, estimate in zip(separator.target_models, wanted, strict=False):
        assert torch.equal(read_audio(f"song_tiny/{name}.wav").waveform, estimate)


def test_loud_song_in_an_integer_format_is_reported(umx, capsys):
    song(waveform=5 * mixture(8000))
    assert umx("song.wav", "--bit-depth", "24", "--json", "--residual") == 0
    captured = capsys.readouterr()
    (record,) = json.loads(captured.out)["files"]
    assert record["peak"] > 1
    assert record["gain"] * record["peak"] == pytest.approx(1, abs=1e-3)
    assert f"all turned down by {record['gain']:.3f}" in captured.err
    waveform = record["gain"] * 5 * mixture(8000)
    assert decibels(total("song_tiny") - waveform, waveform) < -90


def test_manifest_tells_everything(umx, capsys, model):
    song()
    assert umx("song.wav", "missing.wav", "--json", "--niter", "0") == 1
    content = manifest(capsys)
    assert content["model"]["name"] == "tiny"
    assert set(content["model"]["sha256"]) == set(TARGETS)
    assert content["settings"]["niter"] == 0
    assert content["settings"]["targets"] == sorted(TARGETS)
    done, failed = content["files"]
    assert done["status"] == "done"
    assert (done["input"], done["sample_rate"], done["channels"]) == ("song.wav", 8000, 2)
    assert done["duration"] == 1.0
    assert done["seconds"] > 0
    assert done["real_time_factor"] > 0
    assert done["gain"] == 1
    assert {path for path in done["outputs"].values()} == {
        f"song_tiny/{name}.wav" for name in TARGETS
    }
    assert failed["status"] == "failed"
    assert "missing.wav' does not exist" in failed["error"]
    assert "outputs" not in failed


def test_quiet_success_says_nothing(umx, capfd, recwarn):
    song(waveform=5 * noise(8000, channels=6))
    assert umx("song.wav", "song.wav", "--quiet", "--ext", ".flac", "--audio-backend", "sox") == 0
    assert capfd.readouterr() == ("", "")


def test_quiet_still_tells_errors(umx, capfd):
    assert umx("missing.wav", "--quiet") == 1
    assert capfd.readouterr().err.splitlines() == [
        "umx: 'missing.wav' does not exist; check the path"
    ]


class Terminal(io.StringIO):
    """A stderr that is a terminal."""

    def isatty(self):
        return True


def test_progress_is_in_seconds_of_audio(umx, monkeypatch):
    song("a.wav", noise(24000))
    song("b.wav", noise(40000))
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(tqdm, "monitor_interval", 0)
    assert umx("a.wav", "b.wav") == 0
    shown = sys.stderr.getvalue()
    assert "a.wav:   0%|" in shown
    assert "0/3 s of audio" in shown
    assert "b.wav:   0%|" in shown
    assert "all files:   0%|" in shown
    assert "0/8 s of audio" in shown
    assert umx("a.wav", "--quiet") == 0
    assert sys.stderr.getvalue() == shown


def test_deprecated_option_is_accepted(umx, caplog):
    song()
    assert umx("song.wav", "--audio-backend", "stempeg") == 0
    assert "--audio-backend stempeg is deprecated" in caplog.text


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


def test_dry_run_tells_what_would_be_done_and_does_nothing(umx, capsys):
    song()
    assert umx("song.wav", "missing.wav", "--dry-run", "--json", "--ext", "mp3") == 1
    assert tree() == ["song.wav"]
    captured = capsys.readouterr()
    planned, failed = json.loads(captured.out)["files"]
    assert planned["status"] == "planned"
    assert planned["duration"] == 1.0
    assert planned["expected_seconds"] >= 0
    assert planned["expected_memory_gb"] > 0.1
    assert planned["outputs"]["vocals"] == "song_tiny/vocals.mp3"
    assert failed["status"] == "failed"
    lines = captured.err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("umx: song.wav: 1 s of audio, about 0 s and ")
    assert "song_tiny/vocals.mp3" in lines[0]
    assert lines[1] == "umx: 'missing.wav' does not exist; check the path"


def test_one_of_several_ways_to_the_same_file_is_enough(umx, capsys):
    path = song("deep/song.wav")
    other = song("other/song.wav")
    arguments = ["deep/song.wav", path.absolute(), "deep", "deep/*.wav", "deep/../deep/song.wav"]
    assert umx(*arguments, other, "--json", "--outdir", "out") == 0
    content = manifest(capsys)
    assert [record["input"] for record in content["files"]] == ["deep/song.wav", "other/song.wav"]
    assert {path.split("/")[0] for path in tree("out")} == {"song", "song-2"}


def spoil(folder):
    """Fill a folder with good songs and with what people call songs; return the bad ones."""
    folder.mkdir()
    good = song(folder / "a-good.wav")
    content = good.read_bytes()
    (folder / "b-empty.wav").touch()
    (folder / "c-cut.wav").write_bytes(content[: len(content) // 2])
    (folder / "d-junk.mp3").write_bytes(bytes(range(256)) * 100)
    (folder / "e-text.flac").write_text("these are no samples\n" * 100)
    (folder / "f-header.wav").write_bytes(content[:30])
    broken = mixture(8000)
    broken[0, 10] = torch.nan
    song(folder / "g-nan.wav", broken)
    song(folder / "h-none.wav", torch.zeros(2, 0))
    soundfile.write(folder / "i-cut.flac", mixture(8000).T.numpy(), 8000)
    flac = (folder / "i-cut.flac").read_bytes()
    (folder / "i-cut.flac").write_bytes(flac[: len(flac) // 2])
    song(folder / "j-last.wav")
    return [path for path in sorted(folder.iterdir()) if path.stem not in ("a-good", "j-last")]


def test_bad_files_get_a_line_each_and_the_others_go_on(umx, capsys):
    bad = spoil(Path("songs"))
    Path("nothing").mkdir()
    assert umx("songs", "missing.wav", "nothing", "none*.wav", "--outdir", "out") == 1
    lines = [line.strip() for line in capsys.readouterr().err.splitlines() if "umx: " in line]
    assert sum(" s in " in line for line in lines) == 2
    for name in [*map(str, bad), "missing.wav", "nothing", "none*.wav"]:
        assert sum(f"umx: {name!r} " in line for line in lines) == 1, (name, lines)
    assert len(lines) == len(bad) + 5
    wanted = [f"{name}/{target}.wav" for name in ("a-good", "j-last") for target in sorted(TARGETS)]
    assert tree("out") == wanted
    assert not any(path.startswith(".") for path in tree("."))


def test_unreadable_file_gets_a_line(umx, capsys, monkeypatch):
    song()
    monkeypatch.setattr(os, "access", lambda *_: False)  # to root, nothing is unreadable
    assert umx("song.wav", "--quiet") == 1
    assert capsys.readouterr().err == "umx: 'song.wav' cannot be read: permission denied\n"


def test_file_names_cannot_break_the_line_or_move_the_cursor(umx, capfd):
    song("a\nb\x1b[2J\u202e.wav")
    assert umx("a\nb\x1b[2J\u202e.wav", "c\n\x1b[2J.wav") == 1
    captured = capfd.readouterr()
    lines = [line for line in captured.err.splitlines() if "umx: " in line]
    assert len(lines) == 2
    assert "a\\nb\\x1b[2J\\u202e.wav: 1 s in " in lines[0]
    assert "c\\n\\x1b[2J.wav' does not exist" in lines[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--targets", "guitar"], "guitar"),
        (["--ext", ".aiff"], "--ext .aiff: choose from .wav"),
        (["--ext", ".mp3", "--bit-depth", "16"], "--bit-depth 16 cannot be written to .mp3"),
        (["--ext", ".flac", "--bit-depth", "32"], "--bit-depth 32 cannot be written to .flac"),
        (["--bit-depth", "8"], "invalid choice: '8'"),
        (["--aggregate", "{"], "is not JSON"),
        (["--aggregate", "[1]"], "is not of the form"),
        (["--aggregate", '{"a": "vocals"}'], "is not of the form"),
        (["--aggregate", '{"a": []}'], "is not of the form"),
        (["--aggregate", '{"a": ["guitar"]}'], "cannot make 'a' from ['guitar']"),
        (["--aggregate", '{"a": ["residual"]}'], "cannot make 'a' from ['residual']"),
        (["--aggregate", '{"../x": ["vocals"]}'], "'../x' cannot be a file name"),
        (["--aggregate", '{"a": ["vocals"], "A": ["bass"]}'], "differ only in case"),
        (["--residual", "vocals"], "a target is"),
        (["--residual", "a/b"], "'a/b' cannot be a file name"),
        (["--residual", ""], "'' cannot be a file name"),
        (["--niter", "-1"], "cannot be negative"),
        (["--niter", "x"], "invalid int value"),
        (["--wiener-win-len", "-1"], "cannot be negative"),
        (["--start", "-1"], "cannot be negative"),
        (["--start", "nan"], "start is nan"),
        (["--duration", "0"], "--duration not 0"),
        (["--duration", "inf"], "duration is inf"),
        (["--max-memory", "0.001"], "GB are needed"),
        (["--max-memory", "nan"], "GB are needed"),
        (["--device", "quantum"], "invalid choice"),
        (["--unknown"], "unrecognized arguments"),
    ],
)
def test_wrong_usage(umx, capsys, arguments, message):
    song()
    assert umx("song.wav", *arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err.splitlines()[-1]
    assert tree() == ["song.wav"]


def test_device_that_is_not_there_is_wrong_usage(umx, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    song()
    assert umx("song.wav", "--device", "cuda") == 2
    assert "--device cuda: torch finds no such device" in capsys.readouterr().err


def test_no_input_is_wrong_usage(capsys):
    assert exit_code() == 2
    assert "required: input" in capsys.readouterr().err


def test_blocks_shrink_to_fit_the_memory(umx, model, engine_configs):
    song()
    separator = load_separator(model)
    for block in (EngineConfig().block, 300):
        needed = estimate_memory(separator, EngineConfig(block=block)) / 1e9
        assert umx("song.wav", "--max-memory", needed) == 0
        assert engine_configs.pop() == EngineConfig(block=block)


def test_memory_that_is_needed_is_enough(umx, capsys):
    song()
    assert umx("song.wav", "--max-memory", "0.001") == 2
    needed = capsys.readouterr().err.split("at least ")[1].split()[0]
    assert umx("song.wav", "--max-memory", needed) == 0


def test_unknown_model_is_wrong_usage(capsys):
    song()
    assert exit_code("song.wav", "--model", "umxhp") == 2
    assert capsys.readouterr().err.startswith("umx: 'umxhp' is neither a known model (did you mean")
    assert exit_code("song.wav", "--model", "./none") == 2


def test_damaged_model_is_an_error(umx, model, capsys):
    song()
    (Path(model) / "bass.safetensors").write_bytes(b"damaged")
    assert umx("song.wav") == 1
    assert "bass.safetensors" in capsys.readouterr().err
    assert tree() == ["song.wav"]


def test_help_names_every_option(capsys):
    assert exit_code("--help") == 0
    text = capsys.readouterr().out
    for option in ("--model", "--targets", "--outdir", "--residual", "--max-memory", "--json"):
        assert option in text
    assert exit_code("--version") == 0


def test_options_of_1_3_0_are_understood():
    arguments = ["--model", "umxl", "--targets", "vocals", "drums", "--outdir", "out"]
    arguments += ["--ext", ".wav", "--start", "1.5", "--duration", "-1", "--no-cuda"]
    arguments += ["--audio-backend", "sox_io", "--niter", "1", "--wiener-win-len", "300"]
    arguments += ["--residual", "rest", "--aggregate", '{"a": ["vocals"]}']
    arguments += ["--filterbank", "torch", "--verbose"]
    args = parser().parse_args(["a.wav", "b.wav", *arguments])
    assert args.input == ["a.wav", "b.wav"]
    assert args.targets == ["vocals", "drums"]
    assert args.aggregate == {"a": ["vocals"]}


# Models that cannot be had ---------------------------------------------------------------


def offline(monkeypatch):
    monkeypatch.setenv("OPENUNMIX_OFFLINE", "1")


def refused(monkeypatch):
    monkeypatch.setenv("OPENUNMIX_MIRROR", "http://127.0.0.1:9/")


@pytest.mark.parametrize("network", [offline, refused])
def test_without_network_the_bundled_model_is_used(bundled, capsys, monkeypatch, network):
    network(monkeypatch)
    song()
    with taking_at_most(10):
        assert exit_code("song.wav", "--json") == 0
    captured = capsys.readouterr()
    content = json.loads(captured.out)
    assert (content["model"]["name"], content["model"]["bundled"]) == ("umxs", True)
    assert content["settings"]["model"] == "umxs"
    assert tree("song_umxs") == sorted(f"{name}.wav" for name in TARGETS)
    assert "umx: going on with umxs" in captured.err


def test_fallback_is_told_even_if_quiet(bundled, capsys, monkeypatch):
    offline(monkeypatch)
    song()
    assert exit_code("song.wav", "--quiet") == 0
    assert "going on with umxs" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["umxhq", "umxl"])
@pytest.mark.parametrize("network", [offline, refused])
def test_model_that_was_named_is_never_replaced(bundled, capsys, monkeypatch, network, name):
    network(monkeypatch)
    song()
    assert exit_code("song.wav", "--model", name) == 1
    captured = capsys.readouterr().err
    assert len(captured.splitlines()) == 1
    assert "OPENUNMIX_MIRROR" in captured
    assert "--model umxs" in captured
    assert tree() == ["song.wav"]


@pytest.fixture
def published(monkeypatch):
    """Publish a tiny model as umxhq on a server of our own; give the server's plan."""
    contents = {
        target: pickled(tiny_network(seed).state_dict()) for seed, target in enumerate(TARGETS)
    }
    plan = Behaviour()
    with serving(plan) as url:
        entry = make_entry(contents, url, name="umxhq")
        plan.files.update({entry.files[target].name: contents[target] for target in TARGETS})
        monkeypatch.setitem(MODELS, "umxhq", entry)
        yield plan


def test_default_model_is_downloaded(bundled, published, capsys):
    song()
    assert exit_code("song.wav", "--json", "--quiet") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    content = json.loads(captured.out)
    assert content["model"]["name"] == "umxhq"
    assert content["model"]["licence"] == "CC0 1.0"
    assert tree("song_umxhq") == sorted(f"{name}.wav" for name in TARGETS)


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_server_that_refuses_means_the_bundled_model(bundled, published, status):
    published.status = status
    song()
    assert exit_code("song.wav", "--quiet") == 0
    assert Path("song_umxs").is_dir()


def test_wrong_hash_is_an_error_and_never_a_fallback(bundled, published, capsys):
    name = MODELS["umxhq"].files["bass"].name
    published.files[name] = published.files[name][:-1] + b"?"
    song()
    assert exit_code("song.wav", "--quiet") == 1
    assert "is not the published" in capsys.readouterr().err
    assert tree() == ["song.wav"]


def test_damage_in_the_cache_is_an_error_when_it_cannot_be_repaired(
    bundled, published, capsys, monkeypatch
):
    song()
    assert exit_code("song.wav", "--quiet", "--outdir", "a") == 0
    cached_path(MODELS["umxhq"].files["bass"]).write_bytes(b"damaged")
    offline(monkeypatch)
    assert exit_code("song.wav", "--quiet", "--outdir", "b") == 1
    assert "was damaged" in capsys.readouterr().err


def test_unknown_target_is_found_before_the_download(bundled, published):
    song()
    assert exit_code("song.wav", "--targets", "guitar") == 2
    assert not published.requests


# Interruptions ---------------------------------------------------------------------------


def test_full_disk_is_told_and_leaves_the_older_result(umx, capsys, monkeypatch):
    song()
    assert umx("song.wav") == 0
    before = {path: Path("song_tiny", path).read_bytes() for path in tree("song_tiny")}

    def full(self, block):
        raise AudioFileError(f"{self.path} could not be written: {os.strerror(errno.ENOSPC)}")

    monkeypatch.setattr(AudioWriter, "write", full)
    capsys.readouterr()
    assert umx("song.wav", "--quiet") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "No space left on device" in line
    assert {path: Path("song_tiny", path).read_bytes() for path in tree("song_tiny")} == before
    assert len(tree()) == 1 + len(TARGETS)


_SLOW = """
import sys, time
from openunmix.audio import AudioWriter
write = AudioWriter.write
def slow(self, block):
    write(self, block)
    print("writing", flush=True)
    time.sleep(60)
AudioWriter.write = slow
from openunmix.cli import separate
separate()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are different there")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_interrupted_run_leaves_nothing_that_looks_finished(model, number, code):
    song("done.wav")
    assert exit_code("done.wav", "--model", model, "--outdir", "out") == 0
    before = tree("out")
    song()
    arguments = ["song.wav", "done.wav", "--model", model, "--outdir", "out"]
    process = subprocess.Popen(
        [sys.executable, "-c", _SLOW, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout.readline() == "writing\n"
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == code
    left = [path for path in tree("out") if path not in before]
    if number == signal.SIGINT:
        assert left == []
        assert errors.splitlines()[-1].endswith("interrupted; files that were complete are kept")
    else:
        assert left
        assert all(path.startswith(".umx-") for path in left)


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
    monkeypatch.setattr(sys, "argv", ["umx-train"])
    with pytest.raises(SystemExit) as end:
        cli.train()
    assert end.value.code == 2


@pytest.mark.parametrize("arguments", [[], ["--quiet"]])
def test_only_errors_reach_a_real_stderr_if_quiet(model, arguments):
    song(waveform=50 * noise(800, channels=6))
    code = "from openunmix.cli import separate; separate()"
    command = [sys.executable, "-c", code, "song.wav", "missing.wav", "--model", model, "--json"]
    process = subprocess.run(
        [*command, "--ext", "flac", "--audio-backend", "sox", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode == 1
    statuses = [record["status"] for record in json.loads(process.stdout)["files"]]
    assert statuses == ["done", "failed"]
    failure = "umx: 'missing.wav' does not exist; check the path"
    if arguments:
        assert process.stderr.splitlines() == [failure]
        return
    for message in (
        failure,
        "umx: --audio-backend sox is deprecated",
        "umx: song.wav: 6 channels mixed down to stereo",
        "umx: song.wav: 0 s in ",
        "; all turned down by 0.",
    ):
        assert message in process.stderr
    assert "|" not in process.stderr  # bars are for terminals
    assert "Traceback" not in process.stderr
