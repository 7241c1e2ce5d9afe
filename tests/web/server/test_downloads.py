"""Downloads of results."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from helpers.web_server import detail, finished, kept, send, wav_bytes

from openunmix.audio import AudioWriter, probe, read_audio
from openunmix.cli import _separate


def test_result_is_that_of_the_command(server, done, tmp_path, monkeypatch):
    assert done["state"] == "done"
    assert done["files"] == ["bass", "drums", "other", "vocals", "residual"]
    assert (done["model"], done["seconds"], done["duration"]) == ("tiny", 1.0, 1.0)
    monkeypatch.chdir(tmp_path)
    Path("song.wav").write_bytes(wav_bytes())
    arguments = ["song.wav", "--model", str(server.model), "--residual", "--quiet"]
    assert _separate.main(arguments) == 0
    for name in done["files"]:
        response = server.get(f"/api/jobs/{done['id']}/files/{name}")
        Path("response.wav").write_bytes(response.content)
        expected = read_audio(f"song_tiny/{name}.wav").waveform
        assert (read_audio("response.wav").waveform == expected).all()
        disposition = f"attachment; filename*=utf-8''my%20song%20-%20{name}.wav"
        assert response.headers["content-disposition"] == disposition


def test_part_of_a_stem_can_be_fetched(server, done):
    path = f"/api/jobs/{done['id']}/files/vocals"
    part = server.get(path, headers={"range": "bytes=8-11"})
    assert (part.status_code, part.content) == (206, b"WAVE")


def test_archive_has_all_stems(server, done):
    response = server.get(f"/api/jobs/{done['id']}/result.zip")
    assert response.headers["content-disposition"].endswith("my%20song.zip")
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"{name}.wav" for name in done["files"]]
        stem = server.get(f"/api/jobs/{done['id']}/files/bass").content
        assert archive.read("bass.wav") == stem


def test_stem_mp4_has_mixture_and_all_stems(server, done, tmp_path):
    path = tmp_path / "result.stem.mp4"
    response = server.get(f"/api/jobs/{done['id']}/result.stem.mp4")
    path.write_bytes(response.content)
    assert probe(path).streams == 6
    assert server.get(f"/api/jobs/{done['id']}/result.stem.mp4").content == response.content


def test_loud_track_does_not_clip_in_a_stem_mp4(server, tmp_path):
    path = tmp_path / "loud.wav"
    path.write_bytes(wav_bytes())
    waveform, rate = read_audio(path)
    loud = 8 * waveform
    with AudioWriter(path, rate, len(loud)) as writer:
        writer.write(loud)
    job = finished(server, send(server, "loud.wav", path.read_bytes()).json())
    path = tmp_path / "loud.stem.mp4"
    path.write_bytes(server.get(f"/api/jobs/{job['id']}/result.stem.mp4").content)
    decoded = read_audio(path).waveform
    assert loud.abs().max() > 2
    assert decoded.abs().max() < 1.1  # AAC overshoots a little
    assert kept(server.folder / "data") == sorted(j["id"] for j in server.get("/api/jobs").json())


def test_results_of_unfinished_jobs_are_not_there_yet(quick):
    job = send(quick, "slow.wav").json()
    for path in ("result.zip", "result.stem.mp4", "files/vocals"):
        response = quick.get(f"/api/jobs/{job['id']}/{path}")
        assert response.status_code == 409
        assert "there is no result: the job is " in detail(response)
    assert quick.get(f"/jobs/{job['id']}/index.html").status_code == 409
