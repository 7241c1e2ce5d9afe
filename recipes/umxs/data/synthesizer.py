"""Parts of a tune as sound: FluidSynth and a sound font."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from packages import Cache
from parts import Event, write

__all__ = ["SAMPLE_RATE", "Room", "Synth"]

SAMPLE_RATE = 44100


@dataclass(frozen=True)
class Room:
    """Reverberation and chorus of a tune, the same for all of its parts.

    Attributes
    ----------
    size, level : float
        Size of the room and level of its reverberation, 0 to 1.
    chorus : float
        Level of the chorus, 0 to 10.
    """

    size: float
    level: float
    chorus: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Room:
        """Draw a moderate room."""
        return cls(rng.uniform(0.2, 0.7), rng.uniform(0.05, 0.4), rng.uniform(0.0, 1.5))


class Synth:
    """A synthesizer.

    Parameters
    ----------
    cache : Cache
        Where the program comes from.
    """

    def __init__(self, cache: Cache) -> None:
        self.program, self.environment = cache.program("fluidsynth")

    def render(
        self, events: Iterable[Event], font: Path, duration: float, room: Room
    ) -> np.ndarray:
        """Play events.

        Parameters
        ----------
        events : iterable of Event
            What to play.
        font : Path
            Sound font.
        duration : float
            Seconds.
        room : Room
            Where it is played.

        Returns
        -------
        numpy.ndarray [shape=(samples, 2)], float32
            The sound, exactly as long as asked for.
        """
        samples = round(duration * SAMPLE_RATE)
        with tempfile.TemporaryDirectory() as folder:
            midi, raw = Path(folder, "part.mid"), Path(folder, "part.raw")
            write(midi, events, duration)
            self._play(midi, font, raw, room)
            sound = np.fromfile(raw, np.float32).reshape(-1, 2)[:samples]
        return np.pad(sound, ((0, samples - len(sound)), (0, 0)))

    def _play(self, midi: Path, font: Path, raw: Path, room: Room) -> None:
        """Run the program."""
        settings = {
            "synth.sample-rate": SAMPLE_RATE,
            "synth.gain": 0.3,
            "synth.polyphony": 256,
            "synth.dynamic-sample-loading": 1,
            "synth.reverb.room-size": f"{room.size:.3f}",
            "synth.reverb.level": f"{room.level:.3f}",
            "synth.chorus.level": f"{room.chorus:.3f}",
            "audio.file.type": "raw",
            "audio.file.format": "float",
            "audio.file.endian": "little",
        }
        options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        command = [self.program, "-niq", *options, "-F", str(raw), str(font), str(midi)]
        done = subprocess.run(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not raw.is_file():
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
