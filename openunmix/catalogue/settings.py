"""Settings of a run: with the weights, all that changes the outputs of a row."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from openunmix.audio import OUTPUT_FORMATS
from openunmix.catalogue.storage import Place
from openunmix.errors import CheckpointError, StorageError
from openunmix.model import Separator
from openunmix.predict.files import FileOptions
from openunmix.predict.marks import settings_hash
from openunmix.predict.stream import StreamConfig
from openunmix.pretrained import ResolvedModel, load_separator, resolve_model

SETTINGS_NAME = "settings.json"


@dataclass(frozen=True)
class Settings:
    """What a run does to each row; `prepare` completes it."""

    #: Folder or URL of the outputs.
    output: str
    #: Name of a model or path of a model folder, which every machine must have.
    model: str | None = None
    targets: tuple[str, ...] | None = None
    #: Name of the residual; not written if None.
    residual: str | None = None
    niter: int = 1
    #: Frames; None for the whole song.
    wiener_win_len: int | None = 300
    extension: str = ".flac"
    depth: str | None = None
    precision: str = "float32"
    #: A device of torch. It is not in the hash, nor is the number of threads.
    device: str = "cpu"
    #: SHA-256 of the weights of each target: the same on every machine, or nothing is separated.
    weights: tuple[tuple[str, str], ...] = ()

    @property
    def sound(self) -> dict[str, Any]:
        """All that changes the outputs."""
        settings = asdict(self)
        for name in ("output", "device", "model"):
            del settings[name]
        return {**settings, "weights": dict(self.weights), "depth": self.file_options.depth}

    @property
    def hash(self) -> str:
        """Hash of all that changes the outputs."""
        return settings_hash(self.sound)

    @property
    def file_options(self) -> FileOptions:
        """Options of the files, with the depth that is written; ValueError if impossible."""
        if self.extension not in OUTPUT_FORMATS:
            raise ValueError(f"{self.extension}: choose from {', '.join(OUTPUT_FORMATS)}")
        entry = OUTPUT_FORMATS[self.extension]
        depth = self.depth or entry.default_depth
        if self.depth and self.depth not in entry.depths:
            raise ValueError(f"depth {self.depth} cannot be written to {self.extension}")
        return FileOptions(self.extension, depth, residual=self.residual)

    @property
    def stream_config(self) -> StreamConfig:
        """Options of the networks."""
        return StreamConfig(precision=self.precision)


def prepare(settings: Settings, progress: bool = False) -> Settings:
    """Find the model, and record the hashes of its weights: to be done once, before all rows.

    Parameters
    ----------
    settings : Settings
        What a run shall do.
    progress : bool
        Show progress bars of downloads on stderr.

    Returns
    -------
    Settings
        The same with model, targets and weights.
    """
    resolved = resolve_model(settings.model, settings.targets, progress=progress)
    settings.file_options.names(resolved.targets)
    return replace(
        settings,
        model=settings.model or resolved.name,
        targets=tuple(resolved.targets),
        weights=tuple(resolved.sha256.items()),
    )


def load(settings: Settings) -> Separator:
    """Load the separator; CheckpointError if this machine has other weights."""
    resolved: ResolvedModel = resolve_model(settings.model, settings.targets, progress=False)
    if settings.weights and dict(resolved.sha256) != dict(settings.weights):
        raise CheckpointError(
            f"the weights of {settings.model} on this machine are not those of the run; "
            "copy the same model to every machine"
        )
    return load_separator(
        resolved,
        niter=settings.niter,
        residual=settings.residual is not None,
        wiener_win_len=settings.wiener_win_len,
        device=settings.device,
    )


def claim_output(settings: Settings) -> None:
    """Record the settings in the output folder; ValueError if it belongs to other ones."""
    place = Place(settings.output) / SETTINGS_NAME
    mine = {"model": settings.model, "hash": settings.hash, **settings.sound}
    found = place.read()
    if found is None:
        place.write(json.dumps(mine, indent=1).encode())
        return
    theirs = _settings_in(found, place.url)
    if theirs.get("hash") != settings.hash:
        differing = [name for name in settings.sound if not _same(theirs.get(name), mine[name])]
        raise ValueError(
            f"{settings.output!r} holds a run with other settings ({', '.join(differing)}); "
            "choose another output folder"
        )


def _same(theirs: Any, mine: Any) -> bool:
    """Whether two settings are equal in JSON."""
    return bool(theirs == json.loads(json.dumps(mine)))


def output_hash(output: str | os.PathLike[str]) -> str:
    """Hash of the settings of the run in a folder; StorageError if there is none."""
    place = Place(output) / SETTINGS_NAME
    found = place.read()
    if found is None:
        raise StorageError(f"{os.fspath(output)!r} holds no run: there is no {SETTINGS_NAME}")
    return str(_settings_in(found, place.url).get("hash"))


def _settings_in(content: bytes, url: str) -> Mapping[str, Any]:
    """Parse the settings in a file."""
    with suppress(ValueError):
        settings = json.loads(content)
        if isinstance(settings, dict):
            return settings
    raise StorageError(f"{url!r} is damaged; remove it, and run again")
