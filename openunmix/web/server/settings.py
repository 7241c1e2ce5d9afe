"""The settings of a server: where it keeps things, what it computes with, and its limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["LOOPBACK_NAMES", "Settings"]

#: What a browser on the same machine calls it.
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Settings:
    """How a server works, and how much it takes on.

    Attributes
    ----------
    folder : Path
        Where uploads and results are kept, made if need be. It belongs to one server alone.
    model : str, optional
        The model for those who name none: a known name, or the path of a model folder. If not
        given, the default model, or the bundled one where that cannot be downloaded.
    device : str
        Where the networks compute.
    token : str, optional
        What every request has to show; needed by any server that others can reach.
    hosts : tuple of str, optional
        The names by which browsers may call the server, any if not given. A page of another
        site could reach a server on loopback by a name of its own, which would not be here.
    max_upload : int
        Bytes of a file.
    max_duration : float
        Seconds of a file.
    max_jobs : int
        Files that may wait, with those that are on their way.
    max_disk : int
        Bytes of everything in the folder, with what waiting files will need.
    keep : float
        Seconds for which a result is kept; 0 keeps it until someone removes it.
    models : int
        Models that stay loaded.
    patience : float
        Seconds without any progress after which a separation is given up.
    """

    folder: Path
    model: str | None = None
    device: str = "cpu"
    token: str | None = None
    hosts: tuple[str, ...] | None = LOOPBACK_NAMES
    max_upload: int = 500_000_000
    max_duration: float = 3600.0
    max_jobs: int = 50
    max_disk: int = 20_000_000_000
    keep: float = 7 * 86400.0
    models: int = 2
    patience: float = 1800.0

    def __post_init__(self) -> None:
        """Reject what cannot work."""
        for name in ("max_upload", "max_duration", "max_jobs", "max_disk", "models", "patience"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} must be positive")
        if not self.keep >= 0:
            raise ValueError(f"keep={self.keep} must not be negative; 0 keeps results for ever")
