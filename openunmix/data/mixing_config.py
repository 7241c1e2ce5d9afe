"""Settings of mixing, which are options of ``umx-train``, recorded with every run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from openunmix.data.augment.effects import EFFECTS, Effects
from openunmix.data.stems import StemFolder

__all__ = ["LEVELS", "MixingConfig"]

LEVELS = ("random", "original")


def _parse_extra(text: str) -> StemFolder:
    """Parse TARGET=FOLDER[=WEIGHT]."""
    target, folder = _parse_pair(text)
    return StemFolder.parse(folder)._replace(target=target)


def _parse_pair(text: str) -> tuple[str, str]:
    """Parse NAME=VALUE."""
    name, _, value = text.partition("=")
    if not (name and value):
        raise ValueError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def _parse_exclude(text: str) -> tuple[str, tuple[str, ...]]:
    """Parse TRACK=TARGET,...."""
    track, targets = _parse_pair(text)
    return track, tuple(targets.split(","))


def _parse_accompaniment(text: str) -> StemFolder:
    """Parse FOLDER[=SHARE]."""
    folder = StemFolder.parse(text)
    return folder._replace(
        weight=1.0, share=folder.weight if folder.share is None else folder.share
    )


def _parse_amount(text: str) -> tuple[str, float]:
    """Parse SOURCE=NUMBER."""
    name, value = _parse_pair(text)
    return name, float(value)


def _parse_effects(text: str) -> tuple[str, Effects]:
    """Parse SOURCE=KIND, a name of :data:`EFFECTS`."""
    source, kind = _parse_pair(text)
    if kind not in EFFECTS:
        raise ValueError(f"unknown effects {kind!r} of {source}: choose from {', '.join(EFFECTS)}")
    return source, EFFECTS[kind]


@dataclass(frozen=True)
class MixingConfig:
    """How stems are mixed. A field with ``help`` in its metadata is an option of ``umx-train``.

    ``parse`` makes a value from the text of an option; with ``append`` the option is repeatable,
    and the field is the tuple, or the dictionary, of all values.
    """

    also: tuple[StemFolder, ...] = field(
        default=(),
        metadata={
            "help": "another folder of tracks of stems",
            "metavar": "FOLDER[=WEIGHT]",
            "parse": StemFolder.parse,
            "append": True,
        },
    )
    extra: tuple[StemFolder, ...] = field(
        default=(),
        metadata={
            "help": "audio files that hold this target alone",
            "metavar": "TARGET=FOLDER[=WEIGHT]",
            "parse": _parse_extra,
            "append": True,
        },
    )
    exclude: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict,
        metadata={
            "help": "stems of a training track not to use",
            "metavar": "TRACK=TARGET,...",
            "parse": _parse_exclude,
            "append": True,
        },
    )
    accompaniment: StemFolder | None = field(
        default=None,
        metadata={
            "help": "music without the targets, which replaces all other sources in a share of the "
            "mixtures (default: in all)",
            "metavar": "FOLDER[=SHARE]",
            "parse": _parse_accompaniment,
        },
    )
    # Normally distributed around `level`, or original, times 0.25 to 1.25. A stem that shares its
    # track with no other has no original level; it gets `level`.
    levels: str = field(
        default="random",
        metadata={"help": "levels of the stems; original ones get random gains", "choices": LEVELS},
    )
    # Mean level of a source, RMS in dB relative to full scale; of some sources relative to that.
    level: float = -22.0
    balance: Mapping[str, float] = field(default_factory=lambda: {"drums": 0.5, "bass": -1.0})
    # Standard deviation in dB of the level of a source, and of the level of the mixture.
    spread: float = 4.0
    loudness_spread: float = 4.0
    # A stem that the track lacks comes from anywhere.
    coherent: float = field(
        default=0.4,
        metadata={
            "help": "share of the mixtures whose stems come from one time of one track",
            "metavar": "SHARE",
        },
    )
    independent: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "a source that always comes from anywhere",
            "metavar": "SOURCE",
            "parse": str,
            "append": True,
        },
    )
    silent: float = field(
        default=0.06, metadata={"help": "probability that a source is silent", "metavar": "SHARE"}
    )
    # Coherent stems are transposed together.
    transpose: float = field(
        default=2.0,
        metadata={
            "help": "largest change of pitch and speed in semitones, of half of the excerpts",
            "metavar": "X",
        },
    )
    transpose_source: Mapping[str, float] = field(
        default_factory=dict,
        metadata={
            "help": "the same for a source whose stem does not come with others of its track",
            "metavar": "SOURCE=X",
            "parse": _parse_amount,
            "append": True,
        },
    )
    # Their `transpose` takes the place of the common one, but not of `transpose_source`.
    effects: Mapping[str, Effects] = field(
        default_factory=dict,
        metadata={
            "help": "effects of a source: layers, overdrive, double tracking, reverberation; "
            f"{' or '.join(EFFECTS)}",
            "metavar": "SOURCE=KIND",
            "parse": _parse_effects,
            "append": True,
        },
    )

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON values.

        Returns
        -------
        dict
            A value by name.
        """
        settings: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return settings

    @classmethod
    def from_json(cls, settings: Mapping[str, Any]) -> MixingConfig:
        """Make the settings from :meth:`to_json`'s dictionary; unknown names are errors."""
        known = [setting.name for setting in fields(cls)]
        unknown = sorted(settings.keys() - set(known))
        if unknown:
            raise ValueError(f"unknown mixing settings {unknown}; choose from {known}")
        values = dict(settings)
        for name in ("also", "extra"):
            if name in values:
                values[name] = tuple(StemFolder(*folder) for folder in values[name])
        values["independent"] = tuple(values.get("independent", ()))
        if values.get("accompaniment"):
            values["accompaniment"] = StemFolder(*values["accompaniment"])
        if "exclude" in values:
            values["exclude"] = {track: tuple(of) for track, of in values["exclude"].items()}
        if "effects" in values:
            values["effects"] = {source: Effects(**of) for source, of in values["effects"].items()}
        return cls(**values)

    def check(self, sources: Sequence[str] | None = None) -> None:
        """Raise ValueError if the settings cannot work.

        Parameters
        ----------
        sources : sequence of str, optional
            The sources of the tracks, if they are known.
        """
        shares = {"coherent": self.coherent, "silent": self.silent}
        if self.accompaniment is not None:
            shares["accompaniment"] = self.accompaniment.share or 0.0
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise ValueError(f"--{name} must be between 0 and 1, not {share:g}")
        for semitones in (self.transpose, *self.transpose_source.values()):
            if not 0 <= semitones <= 12:
                raise ValueError(f"--transpose must be between 0 and 12, not {semitones:g}")
        if self.levels not in LEVELS:
            raise ValueError(f"--levels must be one of {LEVELS}, not {self.levels!r}")
        if sources is None:
            return
        named = {
            "extra": [folder.target for folder in self.extra],
            "effects": self.effects,
            "independent": self.independent,
            "transpose-source": self.transpose_source,
        }
        for name, given in named.items():
            unknown = sorted(set(map(str, given)) - set(sources))
            if unknown:
                raise ValueError(f"--{name}: {unknown} are not among {list(sources)}")
