"""Files on disk: checks before reading, temporary files while writing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from openunmix._files import temporary_path
from openunmix.errors import AudioFileError

StrPath = str | os.PathLike[str]


def quote(path: StrPath) -> str:
    """Quote a path for a message, control characters escaped."""
    return repr(os.fspath(path))


def absolute(path: StrPath) -> Path:
    """Make a path absolute, so that codecs take ``-`` or ``http:...`` for a file, too."""
    return Path(os.path.abspath(path))


def check_regular_file(path: StrPath) -> None:
    """Raise unless the path is a regular file, readable and not empty."""
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise AudioFileError(f"{quote(path)} does not exist; check the path") from error
    except OSError as error:
        raise AudioFileError(f"{quote(path)} cannot be read: {error.strerror}") from error
    if stat.S_ISDIR(status.st_mode):
        raise AudioFileError(f"{quote(path)} is a folder; give an audio file")
    if not stat.S_ISREG(status.st_mode):
        raise AudioFileError(f"{quote(path)} is not a regular file; copy the audio to one first")
    if status.st_size == 0:
        raise AudioFileError(f"{quote(path)} is empty (0 bytes); fetch or export it again")
    if not os.access(path, os.R_OK):
        raise AudioFileError(f"{quote(path)} cannot be read: permission denied")


@contextmanager
def codec_errors(message: str) -> Iterator[None]:
    """Turn errors of codec libraries into an `AudioFileError` that starts with `message`."""
    import av
    import soundfile

    try:
        yield
    except AudioFileError:
        raise
    except (soundfile.SoundFileError, av.FFmpegError, OSError, EOFError) as error:
        # The text of soundfile's errors may name objects of this program.
        texts = (getattr(error, name, None) for name in ("strerror", "error_string"))
        reason = next((text for text in texts if text), str(error)).removeprefix("Error : ")
        raise AudioFileError(f"{message}: {reason.strip().rstrip('.')}") from error


class PartFile:
    """Binary file for codec libraries, under a temporary name until it is complete.

    Not all of them pass on errors of the disk (libsndfile reports "System error" or, while
    closing, nothing). Here writing never fails: `check` raises the first error.
    """

    def __init__(self, path: StrPath) -> None:
        self.quoted = quote(path)
        self._target = absolute(path)
        if self._target.is_dir():
            raise AudioFileError(f"{quote(path)} is a folder; give the name of a file to write")
        if not self._target.parent.is_dir():
            raise AudioFileError(f"{quote(path)} cannot be written: its folder does not exist")
        self.path = temporary_path(self._target)
        self._error: OSError | None = None
        try:
            self._file = open(self.path, "xb+")  # noqa: SIM115 - closed by commit and discard
        except OSError as error:
            raise AudioFileError(f"{quote(path)} cannot be written: {error.strerror}") from error

    def write(self, data: bytes) -> int:
        """Write bytes, or keep the error."""
        try:
            return self._file.write(data)
        except OSError as error:
            self._error = self._error or error
            return len(data)

    def read(self, size: int = -1) -> bytes:
        """Read bytes back, as codecs do to revise their header."""
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset, or keep the error of writing buffered bytes."""
        try:
            return self._file.seek(offset, whence)
        except OSError as error:
            self._error = self._error or error
            return self._file.tell()

    def tell(self) -> int:
        """Return the offset in bytes."""
        return self._file.tell()

    def check(self) -> None:
        """Raise the first error of the disk, if any."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Flush and close, or raise."""
        self._file.close()
        self.check()

    def commit(self, tags_from: StrPath | None = None) -> None:
        """Copy the tags of another file to the complete file, and rename it to its target."""
        self.close()
        if tags_from is not None:
            from openunmix.audio.tags import copy_tags

            copy_tags(tags_from, self.path)
        os.replace(self.path, self._target)

    def discard(self) -> None:
        """Remove the file."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self.path.unlink()

    def __enter__(self) -> PartFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.discard()
