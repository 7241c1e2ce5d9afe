import json

import pytest
from helpers.catalogues import make_songs
from helpers.models import save_model

from openunmix.cli._catalogue import main


@pytest.fixture
def desk(tmp_path, tiny_separator, monkeypatch):
    """A folder with songs and a model."""
    make_songs(tmp_path / "songs", 2)
    save_model(tmp_path / "model", tiny_separator())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_plan_run_status_verify_and_excerpts(desk, capsys):
    (desk / "songs/broken.mp3").write_bytes(b"no music" * 100)
    assert main(["plan", "songs", "songs.parquet"]) == 0
    assert "2 songs" in capsys.readouterr().err
    run = ["run", "songs.parquet", "out", "--model", "./model", "--processes", "1"]
    assert main([*run, "--shard", "0/2"]) == 0
    assert not (desk / "out/results.parquet").exists()
    assert main(["status", "songs.parquet", "out", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["done"], status["left"], status["unusable"]) == (1, 1, 1)
    assert main(["verify", "songs.parquet", "out"]) == 1
    assert main(run) == 0
    assert "1 done before" in capsys.readouterr().err
    assert (desk / "out/results.parquet").exists()
    assert main(["verify", "songs.parquet", "out"]) == 0
    assert main(["excerpts", "songs.parquet", "out", "shards", "--seconds", "0.2"]) == 0
    assert main(["status", "songs.parquet", "out"]) == 0


def test_a_failed_song_is_a_line_and_exit_code_1(desk, capsys):
    main(["plan", "songs", "songs.parquet"])
    (desk / "songs/song-001.wav").unlink()
    run = ["run", "songs.parquet", "out", "--model", "./model", "--processes", "1"]
    capsys.readouterr()
    assert main([*run, "--quiet"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "song-001.wav" in lines[0]
    assert main(["status", "songs.parquet", "out"]) == 1
    assert "song-001.wav" in capsys.readouterr().out


@pytest.mark.parametrize("shard", ["2/2", "1", "x/y", "-1/2"])
def test_impossible_shards_are_wrong_usage(shard, capsys):
    with pytest.raises(SystemExit) as end:
        main(["run", "m.parquet", "out", f"--shard={shard}"])
    assert end.value.code == 2


def test_a_missing_manifest_is_a_line(desk, capsys):
    assert main(["run", "none.parquet", "out"]) == 1
    assert "none.parquet" in capsys.readouterr().err
