"""Files of any storage that fsspec knows: local folders, s3://, gs://, https:// and more."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from openunmix.errors import MissingExtraError, OpenUnmixError, StorageError

# What temporary keys contain; they are no outputs.
PART = ".part-"

Info = Mapping[str, Any]


@contextmanager
def catalogue_extra() -> Iterator[None]:
    """Raise MissingExtraError if what is imported within is not installed."""
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(
            "catalogues need the extra packages fsspec and pyarrow: "
            "pip install 'openunmix[catalogue]'"
        ) from error


class Place:
    """A file or folder, by path or URL; every failure is a StorageError that names it."""

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self.url = os.fspath(url)

    def __truediv__(self, name: str) -> Place:
        return Place(f"{self.url.rstrip('/')}/{name}")

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """The fsspec file system and the path in it."""
        with catalogue_extra():
            from fsspec.core import url_to_fs
        try:
            fs, path = url_to_fs(self.url)
        except ImportError as error:
            raise MissingExtraError(f"{self.url!r} cannot be opened: {error}") from error
        except Exception as error:  # whatever a storage raises for its own configuration
            raise StorageError(f"{self.url!r} cannot be opened: {_reason(error)}") from error
        return fs, path

    @property
    def fs(self) -> Any:
        """The fsspec file system."""
        return self._opened[0]

    @property
    def path(self) -> str:
        """The path in the file system."""
        return self._opened[1]

    @property
    def is_local(self) -> bool:
        """Whether it is on a disk of this machine."""
        protocol = self.fs.protocol
        return "file" in ((protocol,) if isinstance(protocol, str) else protocol)

    @contextmanager
    def errors(self, action: str) -> Iterator[None]:
        """Raise StorageError for whatever a storage raises, FileNotFoundError as it is."""
        try:
            yield
        except (FileNotFoundError, OpenUnmixError):
            raise
        except Exception as error:  # each storage has exceptions of its own
            raise StorageError(f"{self.url!r} cannot be {action}: {_reason(error)}") from error

    def url_of(self, path: str) -> str:
        """Return the URL of a path in the same file system."""
        return path if self.is_local else str(self.fs.unstrip_protocol(path))

    def read(self) -> bytes | None:
        """Content of a file; None if there is none."""
        with suppress(FileNotFoundError), self.errors("read"):
            return bytes(self.fs.cat_file(self.path))
        return None

    def read_all(self, paths: Sequence[str]) -> Iterator[bytes | None]:
        """Contents of files of the same file system, None for those that cannot be read."""
        for begin in range(0, len(paths), 1000):
            some = list(paths[begin : begin + 1000])
            with self.errors("read"):
                found = self.fs.cat(some, on_error="return")
            for path in some:
                content = found.get(path) if isinstance(found, dict) else found
                yield content if isinstance(content, bytes) else None

    def sha256(self) -> str:
        """SHA-256 of a file; FileNotFoundError if there is none."""
        digest = hashlib.sha256()
        with self.errors("read"), self.fs.open(self.path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()

    def info(self) -> Info:
        """Return what the storage knows about a file."""
        with self.errors("read"):
            return dict(self.fs.info(self.path))

    def write(self, content: bytes) -> None:
        """Write a file: a temporary key, then moved."""
        self._publish(lambda part: self.fs.pipe_file(part, content))

    def put(self, file: Path) -> None:
        """Copy a local file here: to a temporary key, then moved."""
        self._publish(lambda part: self.fs.put_file(os.fspath(file), part))

    def _publish(self, write: Callable[[str], object]) -> None:
        """Write to a temporary key beside this one, and move it here."""
        folder, _, name = self.path.rpartition("/")
        part = f"{folder}/{PART}{secrets.token_hex(4)}-{name}"
        with self.errors("written"):
            if self.is_local:
                os.makedirs(folder or ".", exist_ok=True)
            try:
                write(part)
                self.fs.mv(part, self.path)
            except BaseException:
                with suppress(Exception):  # what failed is raised, not that it left something
                    self.fs.rm_file(part)
                raise

    def remove(self) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError), self.errors("removed"):
            self.fs.rm_file(self.path)

    def find(self) -> dict[str, Info]:
        """All files below a folder, by path, with what the storage knows about them."""
        with self.errors("listed"):
            self.fs.invalidate_cache()
            return dict(self.fs.find(self.path, detail=True))

    @contextmanager
    def local_copy(self, work: Path) -> Iterator[Path]:
        """Yield a local path of the file: its own, or that of a copy in a folder."""
        if self.is_local:
            yield Path(self.path)
            return
        copy = work / Path(self.path).name[-100:]
        try:
            with self.errors("read"):
                self.fs.get_file(self.path, os.fspath(copy))
        except FileNotFoundError as error:
            raise StorageError(f"{self.url!r} does not exist any more; plan again") from error
        try:
            yield copy
        finally:
            copy.unlink(missing_ok=True)


def _reason(error: BaseException) -> str:
    """Return the reason of an error, in a line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
