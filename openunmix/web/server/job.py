"""A job: one file to separate, and what became of it."""

from __future__ import annotations

import math
import re
import time
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import Enum
from typing import Any, NamedTuple

__all__ = ["Job", "Progress", "Speeds", "State", "display_name"]

_LONGEST_NAME = 120

# Seconds of audio after which the speed so far tells that of the rest.
_ENOUGH = 20.0


class State(str, Enum):
    """Where a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Speeds(NamedTuple):
    """Seconds of audio that an earlier job took in a second, in each of its stages."""

    separating: float
    finishing: float

    def whole(self, duration: float) -> float:
        """Return how many seconds a job of a duration takes."""
        return duration / self.separating + duration / self.finishing


@dataclass(frozen=True)
class Progress:
    """How far a running job is; times are in seconds, ``at`` and ``since`` of the system's clock.

    Attributes
    ----------
    stage : str
        ``"preparing"`` (the model), ``"separating"`` or ``"finishing"`` (the page).
    seconds : float
        Of audio that are separated.
    since : float
        When the stage began.
    at : float
        When ``seconds`` was learnt.
    """

    stage: str = "preparing"
    seconds: float = 0.0
    since: float = field(default_factory=time.monotonic)
    at: float = field(default_factory=time.monotonic)

    def left(self, duration: float, speeds: Speeds | None = None) -> float | None:
        """Estimate the seconds until the end; the speeds are those of an earlier job, if known."""
        separating = speeds.separating if speeds else 0.0
        # What is learnt from the first seconds of audio, with all that happens only once, is wrong.
        if self.seconds >= min(_ENOUGH, duration / 2) and self.at > self.since:
            separating = self.seconds / (self.at - self.since)
        if self.stage == "finishing":
            separating = math.inf
        if not separating or (separating == math.inf and not speeds):
            return None
        finishing = duration / speeds.finishing if speeds else 0.0
        left = (duration - self.seconds) / separating + finishing
        return max(left - (time.monotonic() - self.at), 1.0)


@dataclass(frozen=True)
class Job:
    """One file to separate, as it is kept on disk.

    Attributes
    ----------
    id : str
        32 random hexadecimal digits; the name of its folder.
    name : str
        What to call it: the name of the file as :func:`display_name` makes it.
    model : str, optional
        The model asked for, the default one if not given.
    targets : tuple of str
        The targets asked for, all if empty.
    residual : bool
        Whether what the targets leave is wanted, too.
    duration : float, optional
        Seconds of audio, if they can be told.
    size : int
        Bytes that its results are expected to take.
    state : State
        Where it is.
    created, started, finished : float
        Seconds since 1970; 0 as long as it has not happened.
    error : str
        Why it failed.
    result : dict
        What :func:`openunmix.web.server.tasks.separate` returned.
    """

    id: str
    name: str
    model: str | None = None
    targets: tuple[str, ...] = ()
    residual: bool = False
    duration: float | None = None
    size: int = 0
    state: State = State.WAITING
    created: float = field(default_factory=time.time)
    started: float = 0.0
    finished: float = 0.0
    error: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> Mapping[str, str]:
        """Names of the stems' files, by stem."""
        files: Mapping[str, str] = self.result.get("files", {})
        return files

    @property
    def title(self) -> str:
        """The name without the extension of an audio file."""
        title = re.sub(r"(\.stem)?\.\w{1,5}$", "", self.name)
        return title or self.name

    def failed(self, error: str) -> Job:
        """Return the same job, failed."""
        return replace(self, state=State.FAILED, finished=time.time(), error=error, size=0)

    def to_json(self) -> dict[str, Any]:
        """Return what :meth:`from_json` reads."""
        return asdict(self) | {"state": self.state.value}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Job:
        """Return the job of a record; keys of other versions are left out."""
        known = {item.name: content[item.name] for item in fields(cls) if item.name in content}
        known["state"] = State(known["state"])
        known["targets"] = tuple(known["targets"])
        return cls(**known)


def display_name(name: str) -> str:
    """Return what to show for a file name that a client sent: one short line, without folders."""
    name = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    # Categories C*: control characters, and marks that turn the direction of writing.
    name = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in name)
    name = " ".join(name.split())
    if len(name) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME - 16].rstrip()}…{name[-15:].lstrip()}"
    return name if name.strip(".") else "untitled"
