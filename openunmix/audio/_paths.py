"""Files on disk: the checks before reading, the temporary name while writing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from openunmix._files import temporary_path
from openunmix.errors import AudioFileError

__all__ = ["PartFile", "StrPath", "absolute", "check_regular_file", "codec_errors", "shown"]

StrPath = str | os.PathLike[str]


def shown(path: StrPath) -> str:
    """Quote the file name for a message, control characters escaped, so that it is one line."""
    return repr(os.fspath(path))


def absolute(path: StrPath) -> Path:
    """Make the path absolute: ``-`` or ``http:...`` can only mean a file then."""
    return Path(os.path.abspath(path))


def check_regular_file(path: StrPath) -> None:
    """Raise unless the path is a regular file with something in it that we may read."""
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise AudioFileError(f"{shown(path)} does not exist; check the path") from error
    except OSError as error:
        raise AudioFileError(f"{shown(path)} cannot be read: {error.strerror}") from error
    if stat.S_ISDIR(status.st_mode):
        raise AudioFileError(f"{shown(path)} is a folder; give an audio file")
    if not stat.S_ISREG(status.st_mode):
        raise AudioFileError(f"{shown(path)} is not a regular file; copy the audio to one first")
    if status.st_size == 0:
        raise AudioFileError(f"{shown(path)} is empty (0 bytes); fetch or export it again")
    if not os.access(path, os.R_OK):
        raise AudioFileError(f"{shown(path)} cannot be read: permission denied")


@contextmanager
def codec_errors(message: str) -> Iterator[None]:
    """Turn what the codec libraries raise into an `AudioFileError` that starts with `message`."""
    import av
    import soundfile

    try:
        yield
    except AudioFileError:
        raise
    except (soundfile.SoundFileError, av.FFmpegError, OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioFileError(f"{message}: {reason.strip().rstrip('.')}") from error


class PartFile:
    """A file for codec libraries, under a temporary name until it is complete.

    They write to it as to any binary file. They do not all pass on an error of the disk
    (libsndfile says "System error" or, while closing, nothing), so here nothing fails
    for them: the first error is kept, for `check` to raise.

    Parameters
    ----------
    path : str or path
        The name the file is to have.

    Raises
    ------
    AudioFileError
        If the folder does not exist or cannot be written to.
    """

    def __init__(self, path: StrPath) -> None:
        self._target = absolute(path)
        if self._target.is_dir():
            raise AudioFileError(f"{shown(path)} is a folder; give the name of a file to write")
        if not self._target.parent.is_dir():
            raise AudioFileError(f"{shown(path)} cannot be written: its folder does not exist")
        self.path = temporary_path(self._target)
        self._error: OSError | None = None
        try:
            self._file = open(self.path, "xb+")  # noqa: SIM115 - closed by commit and discard
        except OSError as error:
            raise AudioFileError(f"{shown(path)} cannot be written: {error.strerror}") from error

    def write(self, data: bytes) -> int:
        """Write bytes, or keep the error and swallow them."""
        try:
            return self._file.write(data)
        except OSError as error:
            self._error = self._error or error
            return len(data)

    def read(self, size: int = -1) -> bytes:
        """Read bytes back, as codecs do that revise their header."""
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset; buffered bytes may reach the disk here, and fail to."""
        try:
            return self._file.seek(offset, whence)
        except OSError as error:
            self._error = self._error or error
            return self._file.tell()

    def tell(self) -> int:
        """Offset in bytes."""
        return self._file.tell()

    def check(self) -> None:
        """Raise the first error of the disk, if there was one."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Bring everything to disk, or raise."""
        self._file.close()
        self.check()

    def commit(self) -> None:
        """Give the complete file its real name."""
        self.close()
        os.replace(self.path, self._target)

    def discard(self) -> None:
        """Remove the file."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self.path.unlink()

    def __enter__(self) -> PartFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.discard()
