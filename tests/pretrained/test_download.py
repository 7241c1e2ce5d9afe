"""Weights from a server on this machine, which may be slow, wrong, or gone."""

from __future__ import annotations

import errno
import shutil
import socket
import threading
import urllib.error
import urllib.request

import pytest
import torch
from helpers.weights_server import Behaviour, make_entry, serving, taking_at_most

from openunmix.errors import DownloadError, UnreachableError
from openunmix.pretrained import download
from openunmix.pretrained.download import cache_folder, cached_path, fetch, fetch_model, is_intact
from openunmix.pretrained.registry import MODELS

CONTENT = bytes(range(256)) * 400  # 100 kB
HALF = len(CONTENT) // 2


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    for name in ("OPENUNMIX_MIRROR", "OPENUNMIX_OFFLINE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))


@pytest.fixture
def plan():
    return Behaviour()


@pytest.fixture
def entry(plan):
    with serving(plan) as url:
        entry = make_entry({"vocals": CONTENT, "drums": CONTENT[::-1]}, url)
        for target, content in (("vocals", CONTENT), ("drums", CONTENT[::-1])):
            plan.files[entry.files[target].name] = content
        yield entry


def put(entry, content, suffix=""):
    """Put a file of the vocals into the cache."""
    path = cached_path(entry.files["vocals"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path = path.with_name(path.name + suffix)
    path.write_bytes(content)
    return path


def leftovers():
    """Return what is in the cache besides weights."""
    return sorted(path.name for path in cache_folder().iterdir() if path.suffix != ".pth")


def test_file_arrives_in_the_cache_of_torch_hub(entry):
    path = fetch(entry, "vocals", progress=False)
    assert path.read_bytes() == CONTENT
    assert path.parent == cache_folder()
    assert cache_folder().name == "checkpoints"
    assert str(cache_folder()).startswith(torch.hub.get_dir())
    assert path.name == entry.files["vocals"].name
    assert leftovers() == []


def test_cached_file_is_used_without_the_network(entry, plan):
    put(entry, CONTENT)
    assert fetch(entry, "vocals", progress=False).read_bytes() == CONTENT
    assert not plan.requests


def test_all_targets_are_fetched_in_order(entry):
    assert list(fetch_model(entry, progress=False)) == ["vocals", "drums"]
    assert list(fetch_model(entry, ["drums"], progress=False)) == ["drums"]


def test_damaged_cached_file_is_fetched_again(entry, caplog):
    put(entry, CONTENT[:-1] + b"!")
    assert fetch(entry, "vocals", progress=False).read_bytes() == CONTENT
    assert "damaged" in caplog.text


def test_damaged_cached_file_offline_is_no_reason_to_use_another_model(entry, monkeypatch):
    path = put(entry, b"damaged")
    monkeypatch.setenv("OPENUNMIX_OFFLINE", "1")
    with pytest.raises(DownloadError, match="was damaged") as caught:
        fetch(entry, "vocals", progress=False)
    assert not isinstance(caught.value, UnreachableError)
    assert not path.exists()


def test_wrong_content_is_an_error_and_removed(entry, plan):
    plan.files[entry.files["vocals"].name] = b"another file"
    with pytest.raises(DownloadError, match="not the published") as caught:
        fetch(entry, "vocals", progress=False)
    assert not isinstance(caught.value, UnreachableError)
    assert not cached_path(entry.files["vocals"]).exists()
    assert not any(name.endswith(".part") for name in leftovers())


def test_transfer_goes_on_where_it_broke_off_the_day_before(entry, plan):
    put(entry, CONTENT[:HALF], ".part")
    assert fetch(entry, "vocals", progress=False).read_bytes() == CONTENT
    assert plan.asked_ranges == [f"bytes={HALF}-"]
    assert leftovers() == []


def test_server_without_ranges_sends_all_of_it_again(entry, plan):
    plan.ranges = False
    put(entry, CONTENT[:HALF], ".part")
    assert fetch(entry, "vocals", progress=False).read_bytes() == CONTENT


def test_part_of_another_file_is_thrown_away(entry, plan):
    put(entry, b"x" * HALF, ".part")
    assert fetch(entry, "vocals", progress=False).read_bytes() == CONTENT
    assert plan.asked_ranges == [f"bytes={HALF}-", None]


def test_part_longer_than_the_file_is_thrown_away(entry, plan):
    put(entry, CONTENT + b"more", ".part")
    assert fetch(entry, "vocals", progress=False).read_bytes() == CONTENT
    assert plan.asked_ranges == [f"bytes={len(CONTENT) + 4}-", None]


def test_complete_part_needs_no_request(entry, plan):
    put(entry, CONTENT, ".part")
    assert fetch(entry, "vocals", progress=False).read_bytes() == CONTENT
    assert not plan.requests


def test_transfer_that_breaks_off_is_continued_at_once(entry, plan):
    plan.cut_after, plan.cuts = 30_000, 2
    assert fetch(entry, "vocals", progress=False).read_bytes() == CONTENT
    assert plan.asked_ranges == [None, "bytes=30000-", "bytes=60000-"]


def test_transfer_that_keeps_breaking_off_can_be_continued_later(entry, plan):
    plan.cut_after = 1000
    with pytest.raises(DownloadError, match="was interrupted") as caught:
        fetch(entry, "vocals", progress=False)
    assert not isinstance(caught.value, UnreachableError)
    assert put_size(entry) == 5000
    plan.cut_after = None
    assert fetch(entry, "vocals", progress=False).read_bytes() == CONTENT
    assert plan.asked_ranges[-1] == "bytes=5000-"


def put_size(entry):
    """Return the size of what was downloaded so far."""
    path = cached_path(entry.files["vocals"])
    return path.with_name(f"{path.name}.part").stat().st_size


@pytest.mark.parametrize("status", [403, 404, 410, 429, 500, 503])
def test_answer_without_the_file_counts_as_unreachable(entry, plan, status):
    plan.status = status
    with pytest.raises(UnreachableError, match=str(status)):
        fetch(entry, "vocals", progress=False)


def test_refused_connection_is_unreachable_and_says_what_to_do(entry):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    entry = make_entry({"vocals": CONTENT}, f"http://127.0.0.1:{port}")
    with taking_at_most(5), pytest.raises(UnreachableError) as caught:
        fetch(entry, "vocals", progress=False)
    message = str(caught.value)
    for hint in (
        entry.url_of("vocals"),
        str(cache_folder()),
        "OPENUNMIX_MIRROR",
        "--model umxs",
    ):
        assert hint in message
    assert "\n" not in message


def test_bundled_model_of_the_same_kind_is_recommended(monkeypatch):
    monkeypatch.setenv("OPENUNMIX_OFFLINE", "1")
    for name, bundled in (("umxhq", "umxs"), ("umxse", "umxses")):
        with pytest.raises(UnreachableError, match=f"--model {bundled}$"):
            fetch(MODELS[name], MODELS[name].targets[0], progress=False)


def test_mirror_that_may_not_be_read_is_passed_over(entry, tmp_path, monkeypatch, caplog):
    (tmp_path / entry.files["vocals"].name).mkdir()
    monkeypatch.setenv("OPENUNMIX_MIRROR", f"{tmp_path},zenodo")
    assert fetch(entry, "vocals", progress=False).read_bytes() == CONTENT
    assert "cannot be read" in caplog.text


def test_silent_server_is_given_up_within_5_seconds(entry, plan):
    plan.delay = 30
    with taking_at_most(5), pytest.raises(UnreachableError, match="did not respond"):
        fetch(entry, "vocals", progress=False)


def test_server_that_stops_after_its_headers_is_given_up_as_soon(entry, plan, monkeypatch):
    monkeypatch.setattr(download, "_OPEN_SECONDS", 0.5)
    plan.stall_after = 0
    with taking_at_most(2), pytest.raises(UnreachableError, match="did not respond"):
        fetch(entry, "vocals", progress=False)


def test_server_that_stops_in_the_middle_is_given_up(entry, plan, monkeypatch):
    monkeypatch.setattr(download, "_READ_SECONDS", 0.2)
    monkeypatch.setattr(download, "_ATTEMPTS", 2)
    plan.stall_after = 30_000
    with pytest.raises(DownloadError):
        fetch(entry, "vocals", progress=False)
    assert put_size(entry) == 60_000


def test_hanging_name_server_is_given_up_as_soon(monkeypatch):
    monkeypatch.setattr(download, "_OPEN_SECONDS", 0.5)
    release = threading.Event()

    def hang(*_args, **_kwargs):
        release.wait(30)
        raise OSError("no answer")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    entry = make_entry({"vocals": CONTENT}, "http://weights.invalid")
    with taking_at_most(2), pytest.raises(UnreachableError, match="did not respond"):
        fetch(entry, "vocals", progress=False)
    release.set()


def test_unknown_host_is_unreachable(monkeypatch):
    def fail(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    entry = make_entry({"vocals": CONTENT}, "http://weights.invalid")
    with pytest.raises(UnreachableError, match="Name or service not known"):
        fetch(entry, "vocals", progress=False)


def test_offline_never_opens_a_connection(entry, plan, monkeypatch):
    monkeypatch.setenv("OPENUNMIX_OFFLINE", "1")
    with pytest.raises(UnreachableError, match="OPENUNMIX_OFFLINE"):
        fetch(entry, "vocals", progress=False)
    assert not plan.requests
    put(entry, CONTENT)
    assert fetch(entry, "vocals", progress=False).read_bytes() == CONTENT


def test_offline_set_to_zero_is_not_offline(entry, monkeypatch):
    monkeypatch.setenv("OPENUNMIX_OFFLINE", "0")
    assert fetch(entry, "vocals", progress=False).read_bytes() == CONTENT


@pytest.mark.parametrize("folder", ["", "tiny"])
@pytest.mark.parametrize("offline", ["", "1"])
def test_mirror_can_be_a_folder(entry, plan, tmp_path, monkeypatch, folder, offline):
    place = tmp_path / "mirror" / folder
    place.mkdir(parents=True)
    (place / entry.files["vocals"].name).write_bytes(CONTENT)
    monkeypatch.setenv("OPENUNMIX_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("OPENUNMIX_OFFLINE", offline)
    path = fetch(entry, "vocals", progress=False)
    assert path.parent == cache_folder()
    assert path.read_bytes() == CONTENT
    assert not plan.requests


def test_mirror_is_verified_like_any_server(entry, tmp_path, monkeypatch):
    (tmp_path / entry.files["vocals"].name).write_bytes(b"exchanged")
    monkeypatch.setenv("OPENUNMIX_MIRROR", str(tmp_path))
    with pytest.raises(DownloadError, match="not the published"):
        fetch(entry, "vocals", progress=False)
    assert (tmp_path / entry.files["vocals"].name).exists()


def test_mirror_without_the_file_is_not_bypassed(entry, plan, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENUNMIX_MIRROR", str(tmp_path))
    with pytest.raises(UnreachableError, match="there is no file"):
        fetch(entry, "vocals", progress=False)
    assert not plan.requests


@pytest.mark.parametrize("folder", ["", "tiny/"])
def test_mirror_can_be_a_url(plan, monkeypatch, folder):
    entry = make_entry({"vocals": CONTENT}, "http://weights.invalid")
    plan.files[f"{folder}{entry.files['vocals'].name}"] = CONTENT
    with serving(plan) as url:
        monkeypatch.setenv("OPENUNMIX_MIRROR", f"{url}/")
        assert fetch(entry, "vocals", progress=False).read_bytes() == CONTENT


@pytest.fixture
def second():
    """Return the behaviour of a second server, and its URL."""
    plan = Behaviour()
    with serving(plan) as url:
        yield plan, url


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"status": 404}, "404"),
        ({"status": 503}, "503"),
        ({"cut_after": 1000}, "interrupted"),
        ({"stall_after": 0}, "did not respond"),
        ({"redirect": "file:///etc/passwd"}, "not allowed"),
        ({"redirect": "ftp://127.0.0.1/weights.pth"}, "not allowed"),
    ],
)
def test_next_mirror_is_tried_after_a_failure(
    entry, plan, second, monkeypatch, caplog, fault, reason
):
    bad, url = second
    bad.files.update(plan.files)
    for name, value in fault.items():
        setattr(bad, name, value)
    monkeypatch.setattr(download, "_OPEN_SECONDS", 0.5)
    monkeypatch.setenv("OPENUNMIX_MIRROR", f"{url}, {entry.url}")
    assert fetch(entry, "vocals", progress=False).read_bytes() == CONTENT
    assert bad.requests
    assert reason in caplog.text
    assert "trying the next place" in caplog.text
    assert leftovers() == []


def test_mirror_with_another_file_of_that_name_is_passed_over(entry, plan, second, monkeypatch):
    bad, url = second
    bad.files.update(dict.fromkeys(plan.files, b"x" * len(CONTENT)))
    monkeypatch.setenv("OPENUNMIX_MIRROR", f"{url},{entry.url}")
    assert fetch(entry, "vocals", progress=False).read_bytes() == CONTENT
    assert bad.requests.total() == 1


def test_transfer_goes_on_at_the_next_mirror(entry, plan, second, monkeypatch):
    bad, url = second
    bad.files.update(plan.files)
    bad.cut_after = 1000
    monkeypatch.setenv("OPENUNMIX_MIRROR", f"{url},{entry.url}")
    assert fetch(entry, "vocals", progress=False).read_bytes() == CONTENT
    assert plan.asked_ranges == ["bytes=5000-"]


def test_mirrors_stand_beside_the_publisher_by_its_name(entry, plan, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENUNMIX_MIRROR", f"{tmp_path},zenodo")
    assert fetch(entry, "vocals", progress=False).read_bytes() == CONTENT
    assert plan.requests.total() == 1


def test_first_mirror_that_has_the_file_is_enough(entry, plan, tmp_path, monkeypatch):
    (tmp_path / entry.files["vocals"].name).write_bytes(CONTENT)
    monkeypatch.setenv("OPENUNMIX_MIRROR", f"{tmp_path},zenodo")
    fetch(entry, "vocals", progress=False)
    assert not plan.requests


def test_mirror_of_a_call_replaces_that_of_the_environment(entry, plan, tmp_path, monkeypatch):
    (tmp_path / entry.files["vocals"].name).write_bytes(CONTENT)
    monkeypatch.setenv("OPENUNMIX_MIRROR", "http://weights.invalid")
    assert list(fetch_model(entry, ["vocals"], progress=False, mirror=str(tmp_path))) == ["vocals"]
    assert not plan.requests


def test_failure_of_all_mirrors_names_each(entry, plan, second, tmp_path, monkeypatch):
    bad, url = second
    bad.status = 404
    plan.status = 503
    monkeypatch.setenv("OPENUNMIX_MIRROR", f"{tmp_path},{url},zenodo")
    with pytest.raises(UnreachableError) as caught:
        fetch(entry, "vocals", progress=False)
    message = str(caught.value)
    name = entry.files["vocals"].name
    for part in (f"{tmp_path / name}", f"{url}/{name} returned 404", "returned 503"):
        assert part in message
    assert "\n" not in message


def test_one_mirror_with_a_wrong_file_is_no_reason_to_use_another_model(
    entry, plan, tmp_path, monkeypatch
):
    plan.files[entry.files["vocals"].name] = b"another file"
    monkeypatch.setenv("OPENUNMIX_MIRROR", f"{tmp_path},zenodo")
    with pytest.raises(DownloadError, match="not the published") as caught:
        fetch(entry, "vocals", progress=False)
    assert not isinstance(caught.value, UnreachableError)


@pytest.mark.parametrize("place", ["ftp://weights.invalid", "file:///srv/weights"])
def test_mirror_of_another_kind_is_refused(entry, plan, monkeypatch, place):
    monkeypatch.setenv("OPENUNMIX_MIRROR", f"{place},zenodo")
    with pytest.raises(DownloadError, match=place) as caught:
        fetch(entry, "vocals", progress=False)
    assert not isinstance(caught.value, UnreachableError)
    assert not plan.requests


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/w", "http://127.0.0.1"])
def test_redirect_from_https_to_anything_else_is_refused(target):
    request = urllib.request.Request("https://weights.invalid/vocals.pth")
    with pytest.raises(urllib.error.HTTPError, match="not allowed") as caught:
        download._Redirects().redirect_request(request, None, 302, "Found", {}, target)
    caught.value.close()


def test_redirect_to_another_path_is_followed(entry, plan, second):
    good, url = second
    good.files["elsewhere"] = CONTENT
    plan.redirect = f"{url}/elsewhere"
    assert fetch(entry, "vocals", progress=False).read_bytes() == CONTENT


def test_mirror_url_is_offline_too(entry, plan, monkeypatch):
    monkeypatch.setenv("OPENUNMIX_MIRROR", entry.url)
    monkeypatch.setenv("OPENUNMIX_OFFLINE", "1")
    with pytest.raises(UnreachableError, match="OPENUNMIX_OFFLINE"):
        fetch(entry, "vocals", progress=False)
    assert not plan.requests


def test_full_disk_is_an_error_of_its_own(entry, tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / entry.files["vocals"].name).write_bytes(CONTENT)
    monkeypatch.setenv("OPENUNMIX_MIRROR", str(tmp_path))
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(DownloadError, match="No space left") as caught:
        fetch(entry, "vocals", progress=False)
    assert not isinstance(caught.value, UnreachableError)
    assert "TORCH_HOME" in str(caught.value)


def test_cache_that_cannot_be_made_is_an_error_of_its_own(entry, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "file"))
    with pytest.raises(DownloadError, match="cannot store") as caught:
        fetch(entry, "vocals", progress=False)
    assert not isinstance(caught.value, UnreachableError)


def test_several_at_once_download_once(entry, plan):
    plan.delay = 0.2
    paths = []
    threads = [
        threading.Thread(target=lambda: paths.append(fetch(entry, "vocals", progress=False)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.read_bytes() == CONTENT for path in paths] == [True] * 4
    assert plan.requests.total() == 1
    assert leftovers() == []


def test_progress_is_drawn_on_stderr_with_the_size(entry, capsys):
    fetch(entry, "vocals")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert entry.files["vocals"].name in captured.err
    assert "102k/102k" in captured.err


def test_progress_can_be_switched_off(entry, capsys):
    fetch(entry, "vocals", progress=False)
    assert capsys.readouterr().err == ""


def test_file_of_a_published_model_is_recognised_by_its_hash_only(tmp_path):
    file = MODELS["umxhq"].files["vocals"]
    path = tmp_path / file.name
    assert not is_intact(file, path)
    path.write_bytes(b"named like it")
    assert not is_intact(file, path)
