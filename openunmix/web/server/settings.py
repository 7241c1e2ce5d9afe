"""Settings of a server: folder, model, access and limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["LOOPBACK_NAMES", "Settings"]

#: Names by which a browser on the same machine reaches the server.
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")

_POSITIVE = ("max_upload", "max_duration", "max_jobs", "max_disk", "models", "timeout")


@dataclass(frozen=True)
class Settings:
    """Settings of a server.

    Attributes
    ----------
    folder : Path
        Uploads and results; used by one server only.
    model : str, optional
        Default model: a known name, or the path of a model folder.
    device : str
        Device of the networks.
    token : str, optional
        Token that every request must carry.
    hosts : tuple of str, optional
        Accepted ``Host`` headers without port; None accepts all.
    max_upload : int
        Bytes of a file.
    max_duration : float
        Seconds of audio of a file.
    max_jobs : int
        Files in the queue, uploads in progress included.
    max_disk : int
        Bytes of the folder, expected results included.
    retention : float
        Seconds for which results are kept; 0 means for ever.
    models : int
        Models that stay loaded.
    timeout : float
        Seconds without progress after which a separation is aborted.
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
    retention: float = 7 * 86400.0
    models: int = 2
    timeout: float = 1800.0

    def __post_init__(self) -> None:
        """Check the limits."""
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} must be positive")
        if not self.retention >= 0:
            raise ValueError(
                f"retention={self.retention} must not be negative; 0 keeps results for ever"
            )
