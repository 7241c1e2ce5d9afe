"""Tracks: found by name, and decoded."""

from __future__ import annotations

from dataclasses import replace

import pytest
import soundfile
import torch
from helpers import sounds as synth

from openunmix.audio import read_audio, write_stem_mp4
from openunmix.data.tracks import (
    Track,
    TrackAudio,
    find_sources,
    find_tracks,
)
from openunmix.errors import AudioFileError

RATE = 8000
TARGETS = ("vocals", "drums")


@pytest.fixture
def dataset(track_folder):
    """Write three tracks as in MUSDB18-HQ; return the root."""
    for number in range(3):
        files = {
            f"{name}.wav": synth.noise(RATE, seed=number + k) for k, name in enumerate(TARGETS)
        }
        root = track_folder(f"test/song {number}", files).parents[1]
    return root


def test_tracks_of_musdb18_hq_are_found(dataset):
    tracks = find_tracks(dataset)
    assert [track.name for track in tracks] == ["song 0", "song 1", "song 2"]
    assert {track.subset for track in tracks} == {"test"}
    assert set(tracks[0].sources) == set(TARGETS)
    # The folder of a subset may be given itself.
    assert [track.sources for track in find_tracks(dataset / "test")] == [t.sources for t in tracks]


def test_mixture_is_a_file_or_the_sum_of_the_stems(dataset):
    audio = find_tracks(dataset)[0].read()
    torch.testing.assert_close(audio.mixture, sum(audio.sources.values()))
    louder = 0.5 * audio.mixture
    soundfile.write(dataset / "test" / "song 0" / "mixture.wav", louder.T.numpy(), RATE, "FLOAT")
    again = find_tracks(dataset)[0].read()
    torch.testing.assert_close(again.mixture, louder)
    assert set(again.sources) == set(TARGETS)


def test_streams_of_musdb18_have_its_names(tmp_path):
    root = tmp_path / "musdb18"
    (root / "train").mkdir(parents=True)
    (root / "train" / "A - B.stem.mp4").touch()
    (root / "train" / "folder").mkdir()
    (track,) = find_tracks(root, "train")
    assert track.name == "A - B"
    assert track.mixture.stream == 0
    assert {name: source.stream for name, source in track.sources.items()} == {
        "drums": 1,
        "bass": 2,
        "other": 3,
        "vocals": 4,
    }


def test_files_of_musdb18_are_decoded_to_16_bits_as_the_package_musdb_does(tmp_path):
    stems = {name: 2 * synth.noise(44100, seed=seed) for seed, name in enumerate("abcd")}
    for name, stem in {"mixture": 0.1 * sum(stems.values()), **stems}.items():
        soundfile.write(tmp_path / f"{name}.wav", stem.T.numpy(), 44100, "FLOAT")
    (tmp_path / "test").mkdir()
    path = tmp_path / "test" / "A - B.stem.mp4"
    write_stem_mp4(
        path, tmp_path / "mixture.wav", {name: tmp_path / f"{name}.wav" for name in stems}
    )
    (track,) = find_tracks(tmp_path)
    audio = track.read()
    assert list(audio.sources) == ["drums", "bass", "other", "vocals"]
    for stream, waveform in enumerate([audio.mixture, *audio.sources.values()]):
        decoded = read_audio(path, stream=stream).waveform
        steps = 32768 * waveform
        assert torch.equal(steps, steps.round())
        assert steps.min() >= -32768
        assert steps.max() <= 32767
        torch.testing.assert_close(waveform, decoded.clamp(-1, 1 - 2**-15), atol=2**-16, rtol=0)


def test_folders_without_tracks_are_errors(tmp_path):
    with pytest.raises(AudioFileError, match="no such folder"):
        find_tracks(tmp_path / "nothing")
    with pytest.raises(AudioFileError, match="has no folder test and holds no tracks"):
        find_tracks(tmp_path)


def test_tracks_are_found_by_folder_and_file_name(track_folder):
    sound = synth.noise(100)
    track_folder("b", {"vocals.wav": sound, "drums.flac": sound, "mixture.wav": sound})
    track_folder("a", {"drums.ogg": sound})
    folder = track_folder("c", {"mixture.wav": sound})
    (folder.parent / "vocals.wav").touch()  # not in a folder of its own
    tracks = find_tracks(folder.parent, subset="")
    assert [track.name for track in tracks] == ["a", "b", "c"]
    assert tracks[1].mixture.path.name == "mixture.wav"
    assert {target: source.path.name for target, source in tracks[1].sources.items()} == {
        "vocals": "vocals.wav",
        "drums": "drums.flac",
    }


def test_sources_are_all_stems_but_not_their_sum(track_folder):
    sound = synth.noise(100)
    track_folder("a", {"vocals.wav": sound, "mixture.wav": sound})
    folder = track_folder("b", {"guitar.flac": sound})
    (folder / "notes.txt").touch()
    (folder.parent / "drums.wav").touch()  # not in a folder of its own
    assert find_sources(folder.parent) == ["guitar", "vocals"]


def test_file_that_lost_nothing_is_preferred(track_folder):
    sound = synth.noise(100)
    folder = track_folder("a", {"vocals.ogg": sound, "vocals.flac": sound})
    assert find_tracks(folder.parent)[0].sources["vocals"].path.suffix == ".flac"


def test_audio_tells_whether_the_mixture_holds_more_than_the_sources():
    sources = {"vocals": synth.noise(2000, seed=1), "drums": synth.noise(2000, seed=2)}
    whole = TrackAudio(Track("whole"), RATE, sum(sources.values()), sources)
    assert not whole.has_other_sources
    assert not replace(whole, mixture=whole.mixture + 1e-5).has_other_sources
    assert replace(whole, sources={"vocals": sources["vocals"]}).has_other_sources
