"""The models that a server offers."""

from __future__ import annotations

from openunmix.pretrained import resolve_model
from openunmix.pretrained.download import local_files
from openunmix.pretrained.registry import DEFAULT_MODEL, MODELS, ModelEntry
from openunmix.web.server.schema import ModelStatus


class ModelCatalogue:
    """The known models, and the one that the server was started with (a name or a folder)."""

    def __init__(self, model: str | None = None) -> None:
        self.default = model or DEFAULT_MODEL
        self._folder = None if self.default in MODELS else model
        self._models = {}
        if self._folder is not None:
            resolved = resolve_model(self._folder)
            self.default = resolved.name
            self._models[resolved.name] = ModelStatus(
                name=resolved.name,
                default=True,
                downloaded=True,
                targets=resolved.targets,
                sample_rate=round(resolved.config.stft.sample_rate),
                licence=resolved.licence or "known to those who run this server",
            )
        for entry in MODELS.values():
            if entry.targets and entry.name not in self._models:
                self._models[entry.name] = _status(entry, entry.name == self.default)

    def statuses(self) -> list[ModelStatus]:
        """All models, that of the server first."""
        return [
            model.model_copy(update={"downloaded": model.downloaded or _is_downloaded(name)})
            for name, model in self._models.items()
        ]

    def choose(self, name: str | None, targets: list[str]) -> ModelStatus:
        """Return a model that has the targets; ValueError if there is none."""
        model = self._models.get(name or self.default)
        if model is None:
            raise ValueError(f"there is no model {name!r}; choose from {', '.join(self._models)}")
        unknown = [target for target in targets if target not in model.targets]
        if unknown or len(set(targets)) < len(targets):
            raise ValueError(
                f"{model.name} cannot separate {', '.join(map(repr, targets))}; choose some of "
                f"{', '.join(model.targets)}, each once"
            )
        return model

    def source(self, name: str | None) -> str | None:
        """Model to load for a job: a known name, a folder, or None for the default or umxs."""
        if self._folder is not None and name in (None, self.default):
            return self._folder
        return self.default if name is None and self.default != DEFAULT_MODEL else name


def _status(entry: ModelEntry, default: bool) -> ModelStatus:
    """Describe a known model, as if it were not downloaded."""
    return ModelStatus(
        name=entry.name,
        default=default,
        bundled=entry.bundled,
        size=entry.size,
        targets=entry.targets,
        sample_rate=round(entry.config.stft.sample_rate),
        licence=entry.licence,
        trained_on=entry.trained_on,
    )


def _is_downloaded(name: str) -> bool:
    """Whether the weights of a known model are on this machine."""
    return all(file.is_file() for file in local_files(MODELS[name]))
