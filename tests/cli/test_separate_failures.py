"""The command ``umx``: bad files, full disks, interruptions."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import soundfile
import torch
from helpers.commands import TARGETS, exit_code, song, tree
from helpers.files import encode, music
from helpers.sounds import mixture

from openunmix._signals import ENDING
from openunmix.audio import AudioWriter, _isolated
from openunmix.errors import AudioFileError

pytestmark = pytest.mark.usefixtures("work_folder")


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


_SLOW = r"""
import os, sys, time
from openunmix.audio import AudioWriter
write, seconds, suffix = AudioWriter.write, float(sys.argv.pop()), sys.argv.pop()
def slow(self, block):
    write(self, block)
    if str(self.path).endswith(suffix):
        os.write(1, b"writing\n")
        time.sleep(seconds)
AudioWriter.write = slow
from openunmix.cli import separate
separate()
"""


@contextmanager
def slow_umx(*arguments):
    """Run the command in a process, until it writes."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SLOW, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout.readline() == "writing\n"
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are different there")
@pytest.mark.parametrize("number", [*ENDING, getattr(signal, "SIGKILL", 9)])
def test_interrupted_run_leaves_nothing_that_looks_finished(model, number):
    """A closed terminal and `kill` left hidden folders of partial stems, as only Ctrl-C did not."""
    song("done.wav")
    assert exit_code("done.wav", "--model", model, "--outdir", "out") == 0
    before = tree("out")
    song()
    arguments = ["song.wav", "done.wav", "--model", model, "--outdir", "out"]
    with slow_umx(*arguments, ".wav", 60) as process:
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    left = [path for path in tree("out") if path not in before]
    if number in ENDING:
        assert process.returncode == 128 + number
        assert left == []
        assert errors.splitlines()[-1].endswith("interrupted; files that were complete are kept")
    else:
        assert process.returncode == -number
        assert left
        assert all(path.startswith(".umx-") for path in left)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are different there")
@pytest.mark.parametrize("arguments", [["--ext", ".m4a"], ["--player"]])
def test_signal_while_ffmpeg_encodes_ends_at_the_next_block(model, arguments):
    """`kill` during the encoding of a long song waited for all of it, in threads."""
    song(waveform=mixture(20 * 44100), sample_rate=44100)
    suffix = ".opus" if arguments == ["--player"] else ".m4a"
    common = ["song.wav", "--model", model, "--outdir", "out", *arguments]
    with slow_umx(*common, suffix, 2) as process:  # 2 s for each of 13 blocks
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 143
    stems = [f"song/{target}.wav" for target in sorted(TARGETS)] if suffix == ".opus" else []
    assert [path for path in tree("out") if not path.endswith(".json")] == stems


@pytest.mark.parametrize("kind", ["folder", "device", "read-only", "link"])
def test_output_that_cannot_be_replaced_is_found_before_any_work(umx, capsys, kind):
    """A folder `drums.wav` failed after `vocals.wav` and `bass.wav` had been replaced."""
    song()
    song("other.wav")
    assert umx("song.wav") == 0
    before = {path: Path("song_tiny", path).read_bytes() for path in tree("song_tiny")}
    output, words = Path("song_tiny/drums.wav"), kind
    if kind == "read-only":
        output.chmod(0o444)
    elif kind == "link":
        os.rename("song_tiny", "elsewhere")
        os.symlink("nowhere", "song_tiny")
        words = "'song_tiny' is a broken link"
    else:
        output.unlink()
        del before["drums.wav"]
        output.mkdir() if kind == "folder" else os.mkfifo(output)
    capsys.readouterr()
    assert umx("song.wav", "other.wav", "--niter", "0", "--quiet") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert "song_tiny" in line
    folder = Path("elsewhere" if kind == "link" else "song_tiny")
    assert {path: (folder / path).read_bytes() for path in tree(folder) if path in before} == before
    assert Path("other_tiny/drums.wav").is_file()
    assert not [path for path in tree() if ".umx-" in path and ".part" in path]


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_decoder_that_crashes_fails_only_its_file(umx, capsys, monkeypatch):
    """Somebody separated a film in 7.1 and a song: the decoder died, and the song was not done."""
    dead = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    monkeypatch.setattr(_isolated, "_COMMAND", [sys.executable, "-c", dead])
    encode(Path("film.m4a"), music(channels=8), "aac", "7.1", "ipod")
    song("other.wav")
    assert umx("film.m4a", "other.wav") == 1
    assert "film.m4a' made its decoder crash" in capsys.readouterr().err
    assert Path("other_tiny/vocals.wav").is_file()
    assert not list(Path().rglob("*.part*"))
