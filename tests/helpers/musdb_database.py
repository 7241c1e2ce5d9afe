"""A stand-in for the package musdb, which needs a program that may not be there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

__all__ = ["DB", "SOURCES", "STREAMS"]

SOURCES = ["vocals", "drums", "bass", "other"]
STREAMS = {"mixture": 0, "drums": 1, "bass": 2, "other": 3, "vocals": 4}


class DB:
    """What the dataset needs of ``musdb.DB``; tracks named V are for validation."""

    def __init__(self, root=None, is_wav=False, download=False, subsets=None, split=None, **rest):
        assert subsets == "train" or split is None
        self.root = root or "previews"
        self.options = {"download": download, **rest}
        self.setup = {
            "sources": dict.fromkeys(SOURCES),
            "targets": {name: {name: 1} for name in SOURCES}
            | {"accompaniment": {"bass": 1, "drums": 1, "other": 1}},
        }
        self.tracks = [
            self.track(path, is_wav)
            for path in sorted(Path(self.root, subsets).iterdir())
            if split is None or path.name.startswith("V") == (split == "valid")
        ]

    def track(self, path, is_wav):
        def stream(name):
            file = path / f"{name}.wav" if is_wav else path
            return SimpleNamespace(path=str(file), stem_id=STREAMS[name])

        found = {name: stream(name) for name in STREAMS}
        mixture = found.pop("mixture")
        mixture.name = path.name.removesuffix(".stem.mp4")
        mixture.sources = {k: v for k, v in found.items() if Path(v.path).exists()}
        return mixture
