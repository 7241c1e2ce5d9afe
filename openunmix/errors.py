"""The exceptions of Open-Unmix; wrong arguments raise plain ``ValueError`` or ``TypeError``."""

from __future__ import annotations


class OpenUnmixError(Exception):
    """Base class of the errors of Open-Unmix."""


class UnknownModelError(OpenUnmixError, LookupError):
    """The model is neither a known name nor a folder or file that exists."""


class CheckpointError(OpenUnmixError, ValueError):
    """Model files are damaged, unsafe, or not of a network of Open-Unmix."""


class DownloadError(OpenUnmixError, OSError):
    """A file cannot be downloaded, stored or verified."""


class UnreachableError(DownloadError):
    """The network or the server is unreachable, or the server does not have the file."""


class AudioFileError(OpenUnmixError, OSError):
    """A file is missing, damaged, not audio, or cannot be written."""


class TrainingError(OpenUnmixError, ArithmeticError):
    """Training cannot start or continue; the last checkpoint is unchanged."""


class MissingExtraError(OpenUnmixError, ImportError):
    """A feature needs a package that is not installed; the message names the extra."""


class StorageError(OpenUnmixError, OSError):
    """A file of a catalogue cannot be read, listed or written where it is stored."""
