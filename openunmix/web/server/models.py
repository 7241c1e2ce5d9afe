"""The models that a server offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from openunmix.pretrained import resolve_model
from openunmix.pretrained.download import cached_path
from openunmix.pretrained.registry import DEFAULT_MODEL, MODELS, ModelEntry, bundled_folder

__all__ = ["Offer", "Offers", "is_here"]


@dataclass(frozen=True)
class Offer:
    """A model that can be asked for, as a client sees it."""

    name: str
    targets: tuple[str, ...]
    sample_rate: int
    licence: str
    trained_on: str = ""
    size: int | None = None
    bundled: bool = False


class Offers:
    """The known models, and the one that the server was started with.

    Parameters
    ----------
    model : str, optional
        A known name, or the path of a model folder; it becomes the default.

    Raises
    ------
    OpenUnmixError
        If it is neither, or the folder is damaged.
    """

    def __init__(self, model: str | None = None) -> None:
        self._path = None if model is None or model in MODELS else model
        self.default = model if model is not None and model in MODELS else DEFAULT_MODEL
        self.all: Mapping[str, Offer] = {
            name: _offer(entry) for name, entry in MODELS.items() if entry.targets
        }
        if self._path is not None:
            folder = resolve_model(self._path)
            self.default = folder.name
            own = Offer(
                folder.name,
                tuple(folder.targets),
                round(folder.sample_rate),
                folder.licence or "known to those who run this server",
            )
            self.all = {folder.name: own, **self.all}

    def choose(self, name: str | None, targets: list[str]) -> Offer:
        """Return a model and check that it has the targets.

        Raises
        ------
        ValueError
            If there is no such model, or it lacks a target.
        """
        offer = self.all.get(name or self.default)
        if offer is None:
            raise ValueError(f"there is no model {name!r}; choose from {', '.join(self.all)}")
        unknown = [target for target in targets if target not in offer.targets]
        if unknown or len(set(targets)) < len(targets):
            raise ValueError(
                f"targets {', '.join(map(repr, targets))} cannot be had of {offer.name}; choose "
                f"some of {', '.join(offer.targets)}, each once"
            )
        return offer

    def source(self, name: str | None) -> str | None:
        """Return what to load for a model that was asked for: a known name, a path, or None."""
        if self._path is not None and name in (None, self.default):
            return self._path
        return self.default if name is None and self.default != DEFAULT_MODEL else name


def _offer(entry: ModelEntry) -> Offer:
    """Describe a known model."""
    return Offer(
        entry.name,
        tuple(entry.targets),
        round(entry.config.stft.sample_rate),
        entry.licence,
        entry.trained_on,
        entry.size,
        entry.bundled,
    )


def is_here(name: str) -> bool:
    """Whether the weights of a model need no download."""
    entry = MODELS.get(name)
    if entry is None:
        return True
    folder = bundled_folder(entry)
    files = entry.files.values()
    return all((folder / f.name if entry.bundled else cached_path(f)).is_file() for f in files)
