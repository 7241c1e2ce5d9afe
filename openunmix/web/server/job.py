"""A job: one file to separate, its progress, and its result."""

from __future__ import annotations

import math
import re
import time
import unicodedata
from collections.abc import Mapping
from dataclasses import field, replace
from enum import Enum
from typing import Any, NamedTuple

from pydantic.dataclasses import dataclass

_MAX_NAME = 120  # characters

_MIN_AUDIO = 20.0  # seconds of audio from which the speed so far predicts the rest


class State(str, Enum):
    """State of a job."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Speeds(NamedTuple):
    """Seconds of audio per second, by stage, as measured on an earlier job."""

    separating: float
    finishing: float

    def total(self, duration: float) -> float:
        """Seconds for a job of a duration."""
        return duration / self.separating + duration / self.finishing


@dataclass(frozen=True)
class JobProgress:
    """Progress of the running job; ``since`` and ``at`` are times of the monotonic clock."""

    stage: str = "preparing"  # then "separating", "finishing"
    seconds: float = 0.0  # of audio that are separated
    since: float = field(default_factory=time.monotonic)  # start of the stage
    at: float = field(default_factory=time.monotonic)  # of the last report

    def eta(self, duration: float, speeds: Speeds | None = None) -> float | None:
        """Seconds until the end of a job; ``speeds`` are those of an earlier job."""
        separating = speeds.separating if speeds else 0.0
        # The first seconds of audio include warming up, so that their speed misleads.
        if self.seconds >= min(_MIN_AUDIO, duration / 2) and self.at > self.since:
            separating = self.seconds / (self.at - self.since)
        if self.stage == "finishing":
            separating = math.inf
        if not separating or (separating == math.inf and not speeds):
            return None
        finishing = duration / speeds.finishing if speeds else 0.0
        eta = (duration - self.seconds) / separating + finishing
        return max(eta - (time.monotonic() - self.at), 1.0)


@dataclass(frozen=True)
class Job:
    """One file to separate, and its record on disk, in which unknown keys are ignored."""

    id: str  # 32 random hexadecimal digits, the name of its folder
    name: str  # file name, from display_name
    model: str | None = None
    targets: tuple[str, ...] = ()  # empty: all
    residual: bool = False
    duration: float | None = None  # seconds, if known
    size: int = 0  # bytes expected for its results
    state: State = State.WAITING
    created: float = field(default_factory=time.time)  # seconds since 1970, as below
    started: float = 0.0  # 0: not yet
    finished: float = 0.0
    error: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)  # returned by tasks.separate

    @property
    def files(self) -> Mapping[str, str]:
        """File names by stem."""
        files: Mapping[str, str] = self.result.get("files", {})
        return files

    @property
    def title(self) -> str:
        """Name without the extension."""
        title = re.sub(r"(\.stem)?\.\w{1,5}$", "", self.name)
        return title or self.name

    def failed(self, error: str) -> Job:
        """Return the job in the state FAILED."""
        return replace(self, state=State.FAILED, finished=time.time(), error=error, size=0)


def display_name(name: str) -> str:
    """File name from a client as one short printable line, without folders."""
    name = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    # Categories C*: control characters, and marks that change the direction of writing.
    name = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in name)
    name = " ".join(name.split())
    if len(name) > _MAX_NAME:
        name = f"{name[: _MAX_NAME - 16].rstrip()}…{name[-15:].lstrip()}"
    return name if name.strip(".") else "untitled"
