"""The command ``umx``: models that cannot be had."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.commands import TARGETS, exit_code, song, tree
from helpers.weights_server import (
    Behaviour,
    make_entry,
    pickled,
    serving,
    taking_at_most,
    tiny_network,
)

from openunmix.pretrained.download import cached_path
from openunmix.pretrained.registry import MODELS

pytestmark = pytest.mark.usefixtures("work_folder")


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
    assert (
        "umx: umxhq could not be downloaded; using the bundled model umxs instead" in captured.err
    )


def test_fallback_is_told_even_if_quiet(bundled, capsys, monkeypatch):
    offline(monkeypatch)
    song()
    assert exit_code("song.wav", "--quiet") == 0
    assert "using the bundled model umxs instead" in capsys.readouterr().err


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
