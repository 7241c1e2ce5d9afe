"""The documented spelling ``from openunmix import separate; separate.predict(audio, rate)``."""

from openunmix.predict import separate as predict

__all__ = ["predict"]
