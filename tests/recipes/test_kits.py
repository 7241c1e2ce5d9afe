from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
from kits import Kit, voice_of, voice_of_note
from patterns import Hit

RATE = 8000


@pytest.mark.parametrize(
    ("name", "voice"),
    [
        ("Kick Power", "kick"),
        ("Snare Rimshot (Pearl 14x3.5)", "snare"),
        ("Closed HH", "hat_closed"),
        ("Sabian Hat Semi-Open", "hat_open"),
        ("Ride (Custom, 22 inches)", "ride"),
        ("Floor Tom", "tom_low"),
        ("Whistle", None),
    ],
)
def test_an_instrument_is_known_by_its_name(name, voice):
    assert voice_of(name) == voice


def test_drums_of_general_midi_are_voices_and_its_other_percussion_is_not():
    assert [voice_of_note(note) for note in (36, 40, 46, 57, 70)] == [
        "kick",
        "snare",
        "hat_open",
        "crash",
        None,
    ]


def write_kit(folder, instruments):
    """Write a kit in which each instrument is a constant of a level for a second."""
    root = ElementTree.Element("drumkit_info", xmlns="http://www.hydrogen-music.org/drumkit")
    for name, value in instruments.items():
        soundfile.write(folder / f"{name}.wav", np.full(RATE, value), RATE, "FLOAT")
        instrument = ElementTree.SubElement(root, "instrument")
        ElementTree.SubElement(instrument, "name").text = name
        layer = ElementTree.SubElement(instrument, "layer")
        ElementTree.SubElement(layer, "filename").text = f"{name}.wav"
        ElementTree.SubElement(layer, "max").text = "1"
    ElementTree.ElementTree(root).write(folder / "drumkit.xml")


def test_a_stroke_starts_at_its_time(tmp_path):
    write_kit(tmp_path, {"Kick": 0.5, "Snare": 0.1})
    sound = Kit(tmp_path, RATE).play([Hit(0.5, "kick", 1.0)], 2.0, np.random.default_rng(0))
    assert sound.shape == (2 * RATE, 2)
    loud = np.flatnonzero(sound[:, 0])
    assert loud[0] == pytest.approx(0.5 * RATE, abs=1)
    assert loud[-1] == pytest.approx(1.5 * RATE, abs=2)


def test_a_missing_voice_has_a_substitute(tmp_path):
    write_kit(tmp_path, {"Kick": 0.5, "Snare": 0.1})
    sound = Kit(tmp_path, RATE).play([Hit(0.0, "tom_high", 1.0)], 0.5, np.random.default_rng(0))
    assert np.abs(sound).max() > 0


def test_an_open_hat_ends_when_the_hat_is_closed(tmp_path):
    write_kit(tmp_path, {"Hat open": 0.5, "Hat closed": 0.0})
    hits = [Hit(0.0, "hat_open", 1.0), Hit(0.2, "hat_closed", 1.0)]
    sound = Kit(tmp_path, RATE).play(hits, 1.0, np.random.default_rng(0))
    assert np.abs(sound[: round(0.2 * RATE)]).min() > 0
    assert not np.abs(sound[round(0.24 * RATE) :]).any()
