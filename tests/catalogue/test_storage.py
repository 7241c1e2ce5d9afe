import socket
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.catalogues import make_catalogue, s3_server, stems

from openunmix.catalogue import plan, separate_row
from openunmix.catalogue.settings import claim_output
from openunmix.catalogue.status import status_of, verify
from openunmix.catalogue.storage import Place
from openunmix.errors import StorageError


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def bucket(monkeypatch):
    with s3_server(free_port()) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield "s3://music"


# The client of S3 leaves sockets to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_songs_from_s3_to_s3_have_the_bytes_of_local_ones(tmp_path, tiny_separator, bucket):
    local_rows, local = make_catalogue(tmp_path, tiny_separator(), 3)
    for path in (tmp_path / "songs").iterdir():
        (Place(bucket) / f"songs/{path.name}").put(path)
    rows = plan(f"{bucket}/songs")
    assert [row["seconds"] for row in rows] == [0.5] * 3
    settings = replace(local, output=f"{bucket}/out")
    claim_output(settings)
    assert [separate_row(row, settings)["status"] for row in rows] == ["done"] * 3
    assert [separate_row(row, settings)["status"] for row in rows] == ["skipped"] * 3
    status = status_of(rows, settings.output)
    assert (status.done, status.left) == (3, 0)
    assert list(verify(rows, settings.output)) == []
    for row in local_rows:
        separate_row(row, local)
    fetched = tmp_path / "fetched"
    for path in Place(settings.output).find():
        target = fetched / path.removeprefix("music/out/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(Place(f"s3://{path}").read() or b"")
    assert sorted(stems(fetched).values()) == sorted(stems(local.output).values())
    Place(rows[0]["uri"]).remove()
    gone = separate_row(rows[0], replace(settings, output=f"{bucket}/again"))
    assert f"{rows[0]['uri']!r} does not exist any more" in gone["error"]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_wrong_credentials_are_a_clear_line(tmp_path, tiny_separator, monkeypatch):
    rows, settings = make_catalogue(tmp_path, tiny_separator(), 1)
    # The first request of each server makes the bucket, and needs no credentials.
    with s3_server(free_port(), INITIAL_NO_AUTH_ACTION_COUNT=1) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        record = separate_row(rows[0], replace(settings, output="s3://music/secret"))
        assert record["status"] == "failed"
        assert "s3://music/secret" in record["error"]
        assert "\n" not in record["error"]
        with pytest.raises(StorageError, match="s3://music"):
            plan("s3://music/songs")


def test_a_write_that_fails_leaves_the_earlier_file(tmp_path, monkeypatch):
    place = Place(tmp_path / "file")
    place.write(b"before")

    def fail(*_):
        raise OSError("broken")

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.mv", fail)
    with pytest.raises(StorageError, match="broken"):
        place.write(b"after")
    assert place.read() == b"before"
    assert [path.name for path in Path(tmp_path).iterdir()] == ["file"]


def test_a_missing_package_of_a_storage_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(ImportError, match="gcsfs"):
        Place("gs://bucket/song.wav").read()
