import http.server
import threading
from functools import partial

import pytest
from helpers.catalogues import make_songs

from openunmix.catalogue import plan, read_manifest
from openunmix.catalogue.manifest import usable, write_manifest
from openunmix.errors import StorageError


def test_rows_have_content_hash_size_and_duration(tmp_path):
    make_songs(tmp_path / "songs", 2)
    first, second = plan(tmp_path / "songs")
    assert first["id"] != second["id"]
    assert first["seconds"] == 0.5
    assert first["bytes"] == (tmp_path / "songs/song-000.wav").stat().st_size
    assert first["error"] is None


def test_a_manifest_is_read_as_it_was_written(tmp_path):
    rows = plan(make_songs(tmp_path / "songs", 2))
    write_manifest(tmp_path / "m.parquet", rows)
    assert read_manifest(tmp_path / "m.parquet") == rows


def test_what_cannot_be_used_is_there_with_its_reason(tmp_path):
    songs = make_songs(tmp_path / "songs", 1)
    (songs / "broken.mp3").write_bytes(b"no music" * 100)
    (songs / "twin.wav").write_bytes((songs / "song-000.wav").read_bytes())
    (songs / "notes.pdf").write_bytes(b"no audio")
    rows = {row["uri"].rpartition("/")[2]: row for row in plan(songs)}
    assert sorted(rows) == ["broken.mp3", "song-000.wav", "twin.wav"]
    assert "broken.mp3" in rows["broken.mp3"]["error"]
    assert "same content" in rows["twin.wav"]["error"]
    assert [row["uri"] for row in usable(rows.values())] == [rows["song-000.wav"]["uri"]]


def test_a_list_may_name_files_that_do_not_exist(tmp_path):
    songs = make_songs(tmp_path / "songs", 1)
    lines = ["# my songs", str(songs / "song-000.wav"), "", str(songs / "gone.wav")]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    good, gone = plan(tmp_path / "list.txt")
    assert good["error"] is None
    assert "gone.wav" in gone["error"]
    assert "does not exist" in gone["error"]


def test_outputs_of_a_run_are_no_songs(tmp_path):
    songs = make_songs(tmp_path / "songs", 1)
    done = make_songs(songs / "out/ab/abc", 2)
    (done / "done.json").write_text("{}")
    assert len(plan(songs)) == 1


def test_shards_are_disjoint_and_complete():
    rows = [{"id": number, "error": None} for number in range(10)]
    parts = [[row["id"] for row in usable(rows, (index, 3))] for index in range(3)]
    assert sorted(parts[0] + parts[1] + parts[2]) == list(range(10))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("content", [None, b"no Parquet"])
def test_a_manifest_that_is_none_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "m.parquet").write_bytes(content)
    with pytest.raises(StorageError, match=r"m\.parquet"):
        read_manifest(tmp_path / "m.parquet")


def test_an_unknown_protocol_is_a_clear_error():
    with pytest.raises(StorageError, match="nowhere"):
        plan("nowhere://bucket/songs")


def test_songs_on_a_web_server_are_listed_and_probed(tmp_path):
    pytest.importorskip("aiohttp")
    # Longer than what is fetched of a file to probe it.
    songs = make_songs(tmp_path / "songs", 1, samples=400_000)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=songs)
    handler.func.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            rows = plan(f"http://127.0.0.1:{server.server_port}/")
        finally:
            server.shutdown()
            thread.join()
    assert [(row["seconds"], row["error"]) for row in rows] == [(50.0, None)]
