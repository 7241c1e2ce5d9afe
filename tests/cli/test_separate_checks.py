"""The command ``umx``: what is known to fail before it separates, and in a dry run."""

from __future__ import annotations

import os

import pytest
from helpers.commands import TARGETS, exit_code, song, tree
from helpers.models import save_model
from helpers.sounds import noise

from openunmix.predict import files

pytestmark = pytest.mark.usefixtures("work_folder")


def runs_of(capsys, *arguments):
    """Lines and exit code of a dry run, and of the run; no line may come after separating."""
    dry = exit_code(*arguments, "--quiet", "--dry-run"), capsys.readouterr().err.splitlines()
    return dry, (exit_code(*arguments, "--quiet"), capsys.readouterr().err.splitlines())


@pytest.mark.parametrize("channels", [3, 4, 6])
def test_a_model_of_other_channels_fails_that_file_alone(
    tiny_separator, tmp_path, capsys, channels
):
    """A stereo file for a model of 4 channels was wrong usage, and ended the run."""
    model = save_model(tmp_path / "many", tiny_separator(TARGETS, nb_channels=channels))
    for name, count in (("a", 2), ("b", channels), ("c", 10), ("d", 1)):
        song(f"{name}.wav", noise(4000, channels=count))
    dry, done = runs_of(capsys, "a.wav", "b.wav", "c.wav", "d.wav", "--model", model)
    assert dry == done
    assert done[0] == 1
    lines = [f"umx: '{n}.wav' has {c} channels and the model" for n, c in (("a", 2), ("c", 10))]
    assert [line[: len(lines[0])] for line in done[1]] == [line[: len(lines[0])] for line in lines]
    assert len(tree("b_many")) == len(tree("d_many")) == len(TARGETS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--player"], "'many.wav' has 10 channels, which a player cannot mix"),
        (["--ext", ".stem.mp4"], "'many.wav' has 10 channels; mix them to two"),
        (["--ext", ".flac"], "'many.wav' has 10 channels and .flac takes 8"),
        (["--ext", ".mp3"], "'many.wav' has 10 channels and .mp3 takes 2"),
    ],
)
def test_what_cannot_be_written_is_known_before_separating(
    tiny_separator, tmp_path, capsys, monkeypatch, arguments, message
):
    """Ten channels and a player: the failure came after an hour, and the dry run was silent."""
    model = save_model(tmp_path / "mono", tiny_separator(TARGETS, nb_channels=1))
    song("many.wav", noise(4000, channels=10))
    monkeypatch.setattr(files, "_separate", lambda *_: pytest.fail("too late"))
    dry, done = runs_of(capsys, "many.wav", "--model", model, *arguments)
    assert dry == done
    assert done[0] == 1
    assert done[1][0].startswith(f"umx: {message}")


@pytest.mark.parametrize("arguments", [[], ["--outdir", "out", "--ext", ".stem.mp4"]])
def test_a_name_that_becomes_too_long_fails_that_file_alone(umx, model, capsys, arguments):
    """The name of a file had 255 bytes, that of its folder more: the run ended."""
    long = "x" * 251 + ".wav"
    song(long)
    song("song.wav")
    dry, done = runs_of(capsys, long, "song.wav", "--model", model, *arguments)
    assert dry == done
    assert done[0] == len(done[1]) == 1
    assert "File name too long" in done[1][0]
    assert "song_tiny" in os.listdir() or tree("out") == ["song/song.stem.mp4"]
