import pytest

mido = pytest.importorskip("mido", reason="the recipe alone needs mido")
from parts import DRUMS, Event, excerpt, part_of, read, split, transposed, write  # noqa: E402


def note(time, channel, pitch, velocity=80):
    kind = "note_on" if velocity else "note_off"
    return Event(time, mido.Message(kind, channel=channel, note=pitch, velocity=velocity))


def program(time, channel, number):
    return Event(time, mido.Message("program_change", channel=channel, program=number))


def pitches(events):
    return [event.message.note for event in events if event.message.type == "note_on"]


@pytest.mark.parametrize(
    ("channel", "number", "part"),
    [
        (DRUMS, 33, "drums"),
        (0, 33, "bass"),
        (0, 30, "guitar"),
        (0, 0, "rest"),
        (0, 52, None),
        (0, 117, "drums"),
    ],
)
def test_the_program_decides_the_part(channel, number, part):
    assert part_of(channel, number) == part


def test_a_channel_that_changes_its_program_changes_its_part():
    tune = [program(0, 2, 33), note(0, 2, 40), program(1, 2, 0), note(1, 2, 60), note(2, DRUMS, 36)]
    parts = split(tune)
    assert {name: pitches(part) for name, part in parts.items()} == {
        "drums": [36],
        "bass": [40],
        "rest": [60],
    }


def test_replaced_programs_decide_the_part():
    parts = split([program(0, 0, 4), note(0, 0, 60)], {4: 29})
    assert list(parts) == ["guitar"]
    assert parts["guitar"][0].message.program == 29


def test_every_part_follows_the_controllers():
    volume = Event(0.5, mido.Message("control_change", channel=1, control=7, value=20))
    parts = split([program(0, 1, 33), volume, note(1, 1, 40), note(1, DRUMS, 36)])
    assert volume in parts["drums"]
    assert volume in parts["bass"]


def test_transposing_spares_the_drums():
    assert pitches(transposed([note(0, 0, 60), note(0, DRUMS, 36), note(1, 0, 126)], 3)) == [63, 36]


def test_an_excerpt_keeps_programs_and_drops_notes_from_before():
    tune = [program(0, 0, 33), note(1, 0, 40), note(4, 0, 41), note(9, 0, 42)]
    cut = excerpt(tune, 3.0, 2.0, 2.0)
    assert [event.time for event in cut] == [0.0, 0.5]
    assert pitches(cut) == [41]


def test_what_is_written_is_read_again_at_the_same_times(tmp_path):
    tune = [program(0.0, 0, 33), note(0.25, 0, 40), note(1.5, 0, 40, 0)]
    write(tmp_path / "tune.mid", tune, 2.0)
    found = read(tmp_path / "tune.mid")
    assert [event.time for event in found[:3]] == pytest.approx([0.0, 0.25, 1.5], abs=1e-4)
    assert mido.MidiFile(tmp_path / "tune.mid").length == pytest.approx(2.0, abs=1e-4)
