"""Settings of mixing, which are options of ``umx-train``, recorded with every run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from openunmix.data.augment.effects import EFFECTS, Effects
from openunmix.data.stems import StemFolder

LEVELS = ("random", "original")

_BALANCE = {"drums": 0.5, "bass": -1.0}


def _pair(text: str) -> tuple[str, str]:
    """Parse NAME=VALUE."""
    name, _, value = text.partition("=")
    if not (name and value):
        raise ValueError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def _extra(text: str) -> StemFolder:
    """Parse TARGET=FOLDER[=WEIGHT]."""
    target, folder = _pair(text)
    return StemFolder.parse(folder)._replace(target=target)


def _exclude(text: str) -> tuple[str, tuple[str, ...]]:
    """Parse TRACK=TARGET,...."""
    track, targets = _pair(text)
    return track, tuple(targets.split(","))


def _accompaniment(text: str) -> StemFolder:
    """Parse FOLDER[=SHARE]."""
    path, _, weight, share = StemFolder.parse(text)
    return StemFolder(path, share=weight if share is None else share)


def _amount(text: str) -> tuple[str, float]:
    """Parse SOURCE=NUMBER."""
    name, value = _pair(text)
    return name, float(value)


def _effects(text: str) -> tuple[str, Effects]:
    """Parse SOURCE=KIND, a name of :data:`EFFECTS`."""
    source, kind = _pair(text)
    if kind not in EFFECTS:
        raise ValueError(f"unknown effects {kind!r} of {source}: choose from {', '.join(EFFECTS)}")
    return source, EFFECTS[kind]


def _option(default: Any, text: str, metavar: str | None = None, **about: Any) -> Any:
    """Field that is an option of ``umx-train``; see :class:`MixingConfig`."""
    return field(default=default, metadata={"help": text, "metavar": metavar, **about})


def _many(
    default: Callable[[], Any], text: str, metavar: str, parse: Callable[[str], object]
) -> Any:
    """Repeatable option, a tuple of all values or a dictionary of all pairs."""
    about = {"help": text, "metavar": metavar, "parse": parse, "append": True}
    return field(default_factory=default, metadata=about)


@dataclass(frozen=True)
class MixingConfig:
    """How stems are mixed. A field with ``help`` in its metadata is an option of ``umx-train``.

    ``parse`` makes a value from the text of an option; with ``append`` the option is repeatable,
    and the field is the tuple, or the dictionary, of all values.
    """

    also: tuple[StemFolder, ...] = _many(
        tuple, "another folder of tracks of stems", "FOLDER[=WEIGHT]", StemFolder.parse
    )
    extra: tuple[StemFolder, ...] = _many(
        tuple, "audio files that hold this target alone", "TARGET=FOLDER[=WEIGHT]", _extra
    )
    exclude: Mapping[str, tuple[str, ...]] = _many(
        dict, "stems of a training track not to use", "TRACK=TARGET,...", _exclude
    )
    accompaniment: StemFolder | None = field(
        default=None,
        metadata={
            "help": "music without the targets, which replaces all other sources in a share of the "
            "mixtures (default: in all)",
            "metavar": "FOLDER[=SHARE]",
            "parse": _accompaniment,
        },
    )
    # Normally distributed around `level`, or original, times 0.25 to 1.25. A stem that shares its
    # track with no other has no original level; it gets `level`.
    levels: str = _option(
        "random", "levels of the stems; original ones get random gains", choices=LEVELS
    )
    level: float = _option(
        -22.0, "mean level of a source without an original one, RMS in dB of full scale", "X"
    )
    balance: Mapping[str, float] = _many(
        _BALANCE.copy,
        "mean random level of a source relative to --level in dB (default: drums=0.5, bass=-1)",
        "SOURCE=X",
        _amount,
    )
    spread: float = _option(4.0, "standard deviation in dB of the random level of a source", "X")
    # The same of the level of the mixture.
    loudness_spread: float = 4.0
    # A stem that the track lacks comes from anywhere.
    coherent: float = _option(
        0.4, "share of the mixtures whose stems come from one time of one track", "SHARE"
    )
    independent: tuple[str, ...] = _many(
        tuple, "a source that always comes from anywhere", "SOURCE", str
    )
    silent: float = _option(0.06, "probability that a source is silent", "SHARE")
    # Coherent stems are transposed together.
    transpose: float = _option(
        2.0, "largest change of pitch and speed in semitones, of half of the excerpts", "X"
    )
    transpose_source: Mapping[str, float] = _many(
        dict,
        "the same for a source whose stem does not come with others of its track",
        "SOURCE=X",
        _amount,
    )
    # Their `transpose` takes the place of the common one, but not of `transpose_source`.
    effects: Mapping[str, Effects] = _many(
        dict,
        "effects of a source: layers, overdrive, double tracking, reverberation; "
        f"one of {', '.join(EFFECTS)}",
        "SOURCE=KIND",
        _effects,
    )

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        settings: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return settings

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> MixingConfig:
        """Make the settings from :meth:`to_json`'s dictionary; unknown names are errors."""
        known = [setting.name for setting in fields(cls)]
        unknown = sorted(settings.keys() - set(known))
        if unknown:
            raise ValueError(f"unknown mixing settings {unknown}; choose from {known}")
        read: dict[str, Callable[[Any], Any]] = {
            "also": lambda folders: tuple(StemFolder(*folder) for folder in folders),
            "extra": lambda folders: tuple(StemFolder(*folder) for folder in folders),
            "exclude": lambda tracks: {track: tuple(of) for track, of in tracks.items()},
            "accompaniment": lambda folder: folder and StemFolder(*folder),
            "independent": tuple,
            "effects": lambda sources: {name: Effects(**of) for name, of in sources.items()},
        }
        return cls(
            **{
                name: read[name](value) if name in read else value
                for name, value in settings.items()
            }
        )

    def check(self, sources: Sequence[str] | None = None) -> None:
        """Raise ValueError if the settings cannot work, with these sources if they are known."""
        ranges = [
            ("coherent", self.coherent, 0, 1),
            ("silent", self.silent, 0, 1),
            ("level", self.level, -100, 0),
            ("spread", self.spread, 0, 20),
            *(("transpose", x, 0, 12) for x in (self.transpose, *self.transpose_source.values())),
        ]
        if self.accompaniment is not None:
            ranges.append(("accompaniment", self.accompaniment.share or 0.0, 0, 1))
        for name, value, least, most in ranges:
            if not least <= value <= most:
                raise ValueError(f"--{name} must be between {least} and {most}, not {value:g}")
        if self.levels not in LEVELS:
            raise ValueError(f"--levels must be one of {LEVELS}, not {self.levels!r}")
        if sources is None:
            return
        named = {
            "extra": [folder.target for folder in self.extra],
            "balance": self.balance.keys() - _BALANCE.keys(),
            "effects": self.effects,
            "independent": self.independent,
            "transpose-source": self.transpose_source,
        }
        for name, given in named.items():
            unknown = sorted(set(map(str, given)) - set(sources))
            if unknown:
                raise ValueError(f"--{name}: {unknown} are not among {list(sources)}")
