"""Settings of a server: folder, model, access and limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: Names by which a browser on the same machine reaches the server.
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")

_POSITIVE = ("max_upload", "max_duration", "max_jobs", "max_disk", "models", "timeout")


@dataclass(frozen=True)
class Settings:
    """Settings of a server."""

    folder: Path  # uploads and results, used by one server only
    model: str | None = None  # the default: a known name, or the path of a model folder
    device: str = "cpu"
    token: str | None = None  # that every request must carry
    hosts: tuple[str, ...] | None = LOOPBACK_NAMES  # in Host headers; None accepts all
    max_upload: int = 500_000_000  # bytes of a file
    max_duration: float = 3600.0  # seconds of audio of a file
    max_jobs: int = 50  # waiting and uploading
    max_disk: int = 20_000_000_000  # bytes of the folder, expected results included
    retention: float = 7 * 86400.0  # seconds for which results are kept; 0 means for ever
    models: int = 2  # that stay loaded
    timeout: float = 1800.0  # seconds without progress until a separation is aborted

    def __post_init__(self) -> None:
        """Check the limits."""
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} must be positive")
        if not self.retention >= 0:
            raise ValueError(
                f"retention={self.retention} must not be negative; 0 keeps results for ever"
            )
