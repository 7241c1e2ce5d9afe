"""The command ``umx``: bad files, full disks, interruptions."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from helpers.commands import TARGETS, exit_code, song, tree
from helpers.sounds import mixture

from openunmix.audio import AudioWriter
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
