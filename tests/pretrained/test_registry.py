"""The published models are complete, consistent, and found by name."""

from __future__ import annotations

import json
import re
from dataclasses import astuple

import pytest

from openunmix.errors import UnknownModelError
from openunmix.pretrained.config import SHARED_NAME
from openunmix.pretrained.registry import (
    BUNDLED_MODEL,
    DEFAULT_MODEL,
    MODELS,
    bundled_folder,
    find_model,
)
from openunmix.pretrained.terms import REPORTED, STATED, UNKNOWN, Terms
from openunmix.transforms.fourier import bandwidth_to_max_bin

PUBLISHED = {
    "umx": (3370486, "bass-646024d3 drums-5a48008b other-f8e132cc vocals-c8df74a5"),
    "umxhq": (3370489, "bass-8d85a5bd drums-9619578f other-b52fbbf7 vocals-b62c91ce"),
    "umxl": (5069601, "bass-2ca1ce51 drums-69e0ebd4 other-c8c5b3e6 vocals-bccbd9aa"),
    "umxse": (3786908, "noise_04a6fc2d speech_f5e0d9f9"),
}
BUNDLED = [name for name, entry in MODELS.items() if entry.bundled]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_are_those_of_the_records(name):
    record, stems = PUBLISHED[name]
    entry = MODELS[name]
    urls = [entry.url_of(target) for target in sorted(entry.targets)]
    assert urls == [
        f"https://zenodo.org/records/{record}/files/{stem}.pth" for stem in stems.split()
    ]


@pytest.mark.parametrize("name", PUBLISHED)
def test_hashes_are_the_ones_in_the_names(name):
    for target, file in MODELS[name].files.items():
        assert re.fullmatch(rf"{target}[-_]{file.sha256_prefix}\.pth", file.name)
        assert len(file.sha256_prefix) == 8


def test_settings_of_the_music_and_speech_models():
    for name in ("umx", "umxhq", "umxl"):
        entry = MODELS[name]
        assert entry.targets == ["vocals", "drums", "bass", "other"]
        assert (*astuple(entry.config.stft), entry.config.channels) == (
            4096,
            1024,
            44100,
            2,
        )
        bandwidth = entry.config.architecture.bandwidth
        assert bandwidth_to_max_bin(44100, 4096, bandwidth) == 1487
    speech = MODELS["umxse"]
    assert speech.targets == ["speech", "noise"]
    assert (*astuple(speech.config.stft), speech.config.channels) == (
        1024,
        512,
        16000,
        1,
    )
    assert speech.config.architecture.bandwidth is None
    widths = {
        name: entry.config.architecture.hidden_size
        for name, entry in MODELS.items()
        if not entry.bundled
    }
    assert widths == {"umx": 512, "umxhq": 512, "umxl": 1024, "umxse": 256}


def test_every_entry_says_what_a_user_must_know():
    for name, entry in MODELS.items():
        assert entry.name == name
        assert entry.licence
        assert entry.trained_on
        assert entry.citation
        assert entry.bundled or entry.size
        assert entry.bundled == (entry.url == "")


def test_a_licence_is_stated_reported_or_unknown():
    for entry in MODELS.values():
        terms = entry.terms
        assert terms.known in (STATED, REPORTED, UNKNOWN)
        assert bool(terms.sources) == (terms.known == REPORTED)
        assert bool(terms.licence) == (terms.known != UNKNOWN)
        assert terms.data
    reported = [name for name, entry in MODELS.items() if REPORTED in entry.licence]
    assert reported == ["umx", "umxhq", "umxse"]
    assert MODELS["umxl"].licence == "CC BY-NC-SA 4.0"


def test_an_unknown_licence_allows_nothing():
    terms = Terms("", UNKNOWN, None, "not known", None)
    assert terms.summary == "not stated by its publishers"
    assert terms.as_json()["licence"] is None
    assert terms.as_json()["commercial_use"] is None


def test_default_and_bundled_models_are_known():
    assert DEFAULT_MODEL == "umxhq"
    assert not find_model(DEFAULT_MODEL).bundled
    assert BUNDLED_MODEL == "umxs"
    assert find_model(BUNDLED_MODEL).bundled


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_weights_are_complete_and_have_hashes(name):
    entry = find_model(name)
    folder = bundled_folder(entry)
    config = json.loads((folder / "separator.json").read_text())
    shared = {SHARED_NAME} if config.get("shared") else set()
    assert set(config["sha256"]) == {file.name for file in entry.files.values()} | shared
    assert config["sample_rate"] == entry.config.stft.sample_rate
    assert (config["nfft"], config["nhop"]) == (entry.config.stft.n_fft, entry.config.stft.n_hop)
    assert config["nb_channels"] == entry.config.channels
    for target in entry.targets:
        made = json.loads((folder / f"{target}.json").read_text())
        assert made["args"]["hidden_size"] == entry.config.architecture.hidden_size


@pytest.mark.parametrize(
    ("given", "guess"), [("umxqh", "umxhq"), ("UMXL", "umxl"), ("umx-se", "umxse")]
)
def test_unknown_name_gets_the_closest_and_all_names(given, guess):
    with pytest.raises(UnknownModelError, match=f"did you mean '{guess}'") as caught:
        find_model(given)
    assert all(name in str(caught.value) for name in MODELS)
    assert given in str(caught.value)


def test_name_like_no_other_gets_no_guess():
    with pytest.raises(UnknownModelError) as caught:
        find_model("/data/model")
    assert "did you mean" not in str(caught.value)
