"""A MIDI file as timed messages, cut, varied, and split into the parts of a band."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import mido

__all__ = ["DRUMS", "Event", "excerpt", "part_of", "read", "split", "transposed", "write"]

#: The channel of General MIDI that plays drums, counted from 0.
DRUMS = 9

_TICKS_PER_SECOND = 10_000
_VOICES = {52, 53, 54, 85, 91}  # choir, voice, synth voice, lead (voice), pad (choir)
_PERCUSSION = {113, 115, 116, 117, 118, 119}  # agogo, wood block, taiko, tom, synth drum, cymbal
_UNCLEAR = {43, 47, *range(120, 128)}  # contrabass, timpani, sound effects
_BANKS = {0, 32}
_SOUND_OFF = 120


class Event(NamedTuple):
    """A MIDI message and when it is sent.

    Attributes
    ----------
    time : float
        Seconds.
    message : mido.Message
        A message of a channel.
    """

    time: float
    message: mido.Message


def part_of(channel: int, program: int) -> str | None:
    """Return which part an instrument plays in.

    Parameters
    ----------
    channel : int
        Channel, from 0.
    program : int
        Program of General MIDI, from 0.

    Returns
    -------
    str or None
        `drums`, `bass`, `guitar` or `rest`; `None` for instruments that imitate voices and
        for those that records have now in one stem, now in another.
    """
    if channel == DRUMS or program in _PERCUSSION:
        return "drums"
    if program in _VOICES or program in _UNCLEAR:
        return None
    if 32 <= program <= 39:
        return "bass"
    return "guitar" if 24 <= program <= 31 else "rest"


def read(path: Path) -> list[Event]:
    """Read a MIDI file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    list of Event
        Its notes, programs, controllers and bends in order; banks are left out, so that
        every sound font finds its sounds.
    """
    events = []
    now = 0.0
    for message in mido.MidiFile(path, clip=True):
        now += message.time
        if hasattr(message, "channel") and not (message.is_cc() and message.control in _BANKS):
            events.append(Event(now, message.copy(time=0)))
    return events


def excerpt(events: Iterable[Event], start: float, duration: float, speed: float) -> list[Event]:
    """Cut out a part of a tune and change its tempo.

    Parameters
    ----------
    events : iterable of Event
        The tune.
    start : float
        Where the excerpt starts, in seconds of the tune.
    duration : float
        Its length in seconds, after the change of tempo.
    speed : float
        Factor of the tempo.

    Returns
    -------
    list of Event
        What sounds from `start` on; programs and controllers set before come first.
    """
    cut = []
    for time, message in events:
        moved = (time - start) / speed
        is_note = message.type in ("note_on", "note_off", "polytouch")
        if moved >= duration or (moved < 0 and is_note):
            continue
        cut.append(Event(max(moved, 0.0), message))
    return cut


def transposed(events: Iterable[Event], semitones: int) -> list[Event]:
    """Transpose all but the drums; notes beyond the range of MIDI are left out.

    Parameters
    ----------
    events : iterable of Event
        The tune.
    semitones : int
        By how much.

    Returns
    -------
    list of Event
        The transposed tune.
    """
    moved = []
    for event in events:
        message = event.message
        if message.channel != DRUMS and message.type in ("note_on", "note_off", "polytouch"):
            note = message.note + semitones
            if not 0 <= note <= 127:
                continue
            event = Event(event.time, message.copy(note=note))
        moved.append(event)
    return moved


def split(
    events: Iterable[Event], programs: Mapping[int, int] | None = None
) -> dict[str, list[Event]]:
    """Split a tune into parts that are played apart.

    Every part gets the messages of all channels but only its own notes, so that each follows
    the same controllers at the same time.

    Parameters
    ----------
    events : iterable of Event
        The tune.
    programs : mapping of int to int, optional
        Programs that replace others, on all channels but that of the drums.

    Returns
    -------
    dict of str to list of Event
        The parts that have notes, by name, see :func:`part_of`.
    """
    programs = programs or {}
    parts: dict[str, list[Event]] = {name: [] for name in ("drums", "bass", "guitar", "rest")}
    current = [0] * 16
    for event in events:
        message = event.message
        channel = message.channel
        if message.type == "program_change" and channel != DRUMS:
            program = programs.get(message.program, message.program)
            current[channel] = program
            event = Event(event.time, message.copy(program=program))
        is_note = message.type in ("note_on", "note_off", "polytouch")
        for name in [part_of(channel, current[channel])] if is_note else parts:
            if name is not None:
                parts[name].append(event)
    return {name: part for name, part in parts.items() if _has_notes(part)}


def write(path: Path, events: Iterable[Event], duration: float) -> None:
    """Write a MIDI file of a given length.

    Parameters
    ----------
    path : Path
        The file.
    events : iterable of Event
        Messages in order.
    duration : float
        Seconds after which the file ends.
    """
    track = mido.MidiTrack()
    last = 0
    for time, message in events:
        now = round(time * _TICKS_PER_SECOND)
        track.append(message.copy(time=now - last))
        last = now
    # What still sounds would sound for ever.
    wait = max(round(duration * _TICKS_PER_SECOND) - last, 0)
    for channel in range(16):
        track.append(mido.Message("control_change", channel=channel, control=_SOUND_OFF, time=wait))
        wait = 0
    # Half a second a beat is what a file without tempo means.
    file = mido.MidiFile(type=0, ticks_per_beat=_TICKS_PER_SECOND // 2)
    file.tracks.append(track)
    file.save(path)


def _has_notes(events: Iterable[Event]) -> bool:
    """Whether any note starts."""
    return any(event.message.type == "note_on" and event.message.velocity for event in events)
