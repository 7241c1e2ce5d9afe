"""Weights from a server into the cache: verified, resumable, one process at a time.

The cache is the one of ``torch.hub``, so files that openunmix 1.3.0 fetched are used again. A file
is used only if its SHA-256 begins as the registry says. Two variables of the environment matter:

``OPENUNMIX_MIRROR``
    A folder or a URL that is asked instead of the registry's server. Files are found by their
    name, there or in a sub-folder named like the model.
``OPENUNMIX_OFFLINE``
    If ``1``, the network is never touched; the cache and a mirror that is a folder still are.
"""

from __future__ import annotations

import http.client
import logging
import os
import re
import shutil
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import IO

from openunmix._files import sha256_of
from openunmix._version import __version__
from openunmix.errors import DownloadError, UnreachableError
from openunmix.pretrained.registry import BUNDLED_MODEL, ModelEntry, WeightFile

__all__ = ["cache_folder", "cached_path", "fetch", "fetch_model", "is_intact"]

_log = logging.getLogger(__name__)

_OPEN_SECONDS = 4.0  # until the first bytes are here: names, connection, TLS, redirections
_READ_SECONDS = 4.0  # between two blocks of the answer
_ATTEMPTS = 5  # transfers that may break off, each going on where the last one ended
_BLOCK_SIZE = 1 << 18


class _AbsentError(UnreachableError):
    """The server or folder is there, the file is not."""


class _BrokenOffError(DownloadError):
    """The transfer ended before the file did; what came is kept."""


class _RangeError(DownloadError):
    """The server does not have the bytes that were asked for."""


def cache_folder() -> Path:
    """Return the folder that downloaded weights are kept in.

    Returns
    -------
    Path
        ``checkpoints`` in the folder of ``torch.hub``, which the variable ``TORCH_HOME`` moves.
    """
    import torch.hub

    return Path(torch.hub.get_dir()) / "checkpoints"


def cached_path(file: WeightFile) -> Path:
    """Return where a file is, or will be, in the cache.

    Parameters
    ----------
    file : WeightFile
        The file.

    Returns
    -------
    Path
        Its path, whether it exists or not.
    """
    return cache_folder() / file.name


def is_intact(file: WeightFile, path: Path) -> bool:
    """Tell whether a file on disk is the published one.

    Parameters
    ----------
    file : WeightFile
        What was published.
    path : Path
        What is on disk.

    Returns
    -------
    bool
        Whether it exists and its SHA-256 begins as published.
    """
    return path.is_file() and sha256_of(path).startswith(file.sha256_prefix)


def fetch_model(
    entry: ModelEntry, targets: Sequence[str] | None = None, *, progress: bool = True
) -> dict[str, Path]:
    """Fetch the weights of a model, as :func:`fetch` does for one target.

    Parameters
    ----------
    entry : ModelEntry
        The model.
    targets : sequence of str, optional
        Some of its targets, all if not given.
    progress : bool
        Whether to draw bars on stderr.

    Returns
    -------
    dict of str to Path
        The file of every target.
    """
    chosen = entry.targets if targets is None else targets
    return {target: fetch(entry, target, progress=progress) for target in chosen}


def fetch(entry: ModelEntry, target: str, *, progress: bool = True) -> Path:
    """Return the weights of one target, downloading them unless they are in the cache.

    The hash is checked every time, also of a file that is in the cache already: that takes less
    time than loading it. A damaged one is removed and fetched again.

    Parameters
    ----------
    entry : ModelEntry
        The model, not a bundled one.
    target : str
        One of its targets.
    progress : bool
        Whether to draw a bar on stderr.

    Returns
    -------
    Path
        A verified file in the cache.

    Raises
    ------
    UnreachableError
        If the network or the server cannot be reached, or does not have the file. That is
        decided within 5 s.
    DownloadError
        If the file is damaged, the transfer broke off or the file cannot be stored.
    """
    file = entry.files[target]
    path = cached_path(file)
    try:
        if is_intact(file, path):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f"{path.name}.lock")
        with _locked(lock):
            if not is_intact(file, path):  # another process may have been faster
                _fill_cache(entry, file, path, progress)
        with suppress(OSError):  # Windows keeps it while another process waits for it
            lock.unlink()
    except DownloadError as error:
        kind = UnreachableError if isinstance(error, UnreachableError) else DownloadError
        raise kind(f"{error}. {_advice(entry, target)}") from error
    except OSError as error:
        raise DownloadError(
            f"cannot store {path}: {error}. What was downloaded is kept; make space, or choose "
            "another folder for the cache with the variable TORCH_HOME"
        ) from error
    return path


def _advice(entry: ModelEntry, target: str) -> str:
    """Say what a user can do when a download failed."""
    return (
        f"Try again later, or put {entry.url_of(target)} into the folder {cache_folder()}, or set "
        f"OPENUNMIX_MIRROR to a folder or URL that has {entry.files[target].name}, or use the "
        f"model that needs no download: --model {BUNDLED_MODEL}"
    )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; the system releases it if the process dies."""
    with path.open("ab") as file:
        if not _try_lock(file):
            _log.warning("waiting for another process that downloads %s", path.stem)
            while not _try_lock(file):
                time.sleep(0.1)
        yield


def _try_lock(file: IO[bytes]) -> bool:
    """Lock an open file unless another process has locked it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks: go on without
        return True
    return True


def _fill_cache(entry: ModelEntry, file: WeightFile, path: Path, progress: bool) -> None:
    """Put the file at ``path``, replacing a damaged one."""
    damaged = path.exists()
    if damaged:
        _log.warning("%s is damaged (its SHA-256 is not the published one): removed", path)
        path.unlink()
    part = path.with_name(f"{path.name}.part")
    try:
        _fill_part(_sources(entry, file), file, part, progress)
    except UnreachableError as error:
        if damaged:  # not a matter of the network alone, so nothing may fall back on it
            raise DownloadError(f"{path} was damaged and has been removed; {error}") from error
        raise
    part.replace(path)


def _sources(entry: ModelEntry, file: WeightFile) -> list[str | Path]:
    """Return where to look for a file, best first: URLs or paths."""
    mirror = os.environ.get("OPENUNMIX_MIRROR", "")
    if not mirror:
        return [f"{entry.url.rstrip('/')}/{file.name}"]
    if re.match(r"https?://", mirror):
        base = mirror.rstrip("/")
        return [f"{base}/{file.name}", f"{base}/{entry.name}/{file.name}"]
    folder = Path(mirror).expanduser()
    return [folder / file.name, folder / entry.name / file.name]


def _fill_part(sources: list[str | Path], file: WeightFile, part: Path, progress: bool) -> None:
    """Complete ``part`` from the first source that has the file, and verify it."""
    resumed = part.exists()
    if resumed and is_intact(file, part):
        return
    source = _complete(sources, part, progress)
    if resumed and not is_intact(file, part):
        part.unlink(missing_ok=True)  # its beginning may be of another file: once more, from zero
        source = _complete(sources, part, progress)
    if not is_intact(file, part):
        found = sha256_of(part)[: len(file.sha256_prefix)]
        part.unlink()
        raise DownloadError(
            f"{source} is not the published {file.name}: its SHA-256 begins with {found} instead "
            f"of {file.sha256_prefix}, so it was removed"
        )


def _complete(sources: list[str | Path], part: Path, progress: bool) -> str | Path:
    """Complete ``part`` from the first source that has the file, and return that source."""
    absences = []
    for source in sources:
        try:
            if isinstance(source, Path):
                _copy(source, part)
            else:
                _download(source, part, progress)
            return source
        except _AbsentError as error:
            absences.append(str(error))
    raise UnreachableError(", ".join(absences))


def _copy(source: Path, part: Path) -> None:
    """Copy a file of a mirror that is a folder."""
    if not source.is_file():
        raise _AbsentError(f"there is no file {source}")
    shutil.copyfile(source, part)


def _download(url: str, part: Path, progress: bool) -> None:
    """Append to ``part`` what is missing, going on where a transfer broke off."""
    for _ in range(_ATTEMPTS):
        start = _size(part)
        try:
            return _append(url, part, start, progress)
        except _RangeError:
            if start == 0:
                raise
            part.unlink()
        except _BrokenOffError as error:
            if _size(part) <= start:
                raise
            _log.info("%s", error)
    raise DownloadError(f"the transfer of {url} broke off {_ATTEMPTS} times; what came is kept")


def _size(part: Path) -> int:
    """Return the bytes that are there already."""
    return part.stat().st_size if part.exists() else 0


def _append(url: str, part: Path, start: int, progress: bool) -> None:
    """Ask for the bytes from ``start`` on, once, and write what comes."""
    # torch.hub has a stand-in for tqdm where that is not installed.
    from torch.hub import tqdm  # type: ignore[attr-defined]

    with _open(url, start) as answer:
        if answer.status != HTTPStatus.PARTIAL_CONTENT:
            start = 0  # a server without ranges sends the whole file
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise _RangeError(f"{url} sent other bytes than were asked for")
        length = answer.headers.get("Content-Length", "")
        total = start + int(length) if length.isdecimal() else None
        with (
            part.open("ab" if start else "wb") as out,
            tqdm(
                desc=part.stem,
                total=total,
                initial=start,
                unit="B",
                unit_scale=True,
                disable=not progress,
            ) as bar,
        ):
            for block in _blocks(url, answer):
                out.write(block)
                bar.update(len(block))
    if total is not None and _size(part) < total:
        raise _BrokenOffError(f"the transfer of {url} broke off at {_size(part)} of {total} bytes")


def _blocks(url: str, answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """Read an answer to its end."""
    try:
        while block := answer.read1(_BLOCK_SIZE):
            yield block
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(f"the transfer of {url} broke off: {_reason(error)}") from error


def _open(url: str, start: int) -> http.client.HTTPResponse:
    """Send a request and wait for the first bytes of the answer, at most ``_OPEN_SECONDS``.

    A thread does the waiting: a hanging name server knows no timeout, and several addresses, a
    redirection or a slow answer would each have one of their own.
    """
    if os.environ.get("OPENUNMIX_OFFLINE", "") not in ("", "0"):
        raise UnreachableError(f"{url} is not fetched because OPENUNMIX_OFFLINE is set")
    headers = {"User-Agent": f"openunmix/{__version__}"}
    if start:
        headers["Range"] = f"bytes={start}-"
    future: Future[http.client.HTTPResponse] = Future()
    request = urllib.request.Request(url, headers=headers)
    threading.Thread(target=_answer, args=(request, future), daemon=True).start()
    try:
        return future.result(timeout=_OPEN_SECONDS)
    except FutureTimeoutError as error:  # also TimeoutError, from Python 3.11 on
        future.add_done_callback(_close_late)
        raise UnreachableError(f"{url} did not answer within {_OPEN_SECONDS:g} s") from error
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(url, error) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnreachableError(f"{url} cannot be reached: {_reason(error)}") from error


def _answer(request: urllib.request.Request, future: Future[http.client.HTTPResponse]) -> None:
    """Resolve the future with an answer whose first bytes are here, or with what went wrong."""
    try:
        answer = urllib.request.urlopen(request, timeout=_READ_SECONDS)
        answer.peek(1)
        future.set_result(answer)
    except (OSError, http.client.HTTPException, ValueError) as error:
        future.set_exception(error)


def _close_late(future: Future[http.client.HTTPResponse]) -> None:
    """Close an answer, or an error that is one, that came when nobody waited any longer."""
    answer = future.exception() or future.result()
    if isinstance(answer, (http.client.HTTPResponse, urllib.error.HTTPError)):
        answer.close()


def _refusal(url: str, error: urllib.error.HTTPError) -> DownloadError:
    """Return the exception for an answer that is not the file."""
    if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return _RangeError(f"{url} has fewer bytes than were downloaded before")
    absent = error.code in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
    kind = _AbsentError if absent else UnreachableError
    return kind(f"{url} answered {error.code} {error.reason}")


def _reason(error: Exception) -> str:
    """Say what an exception of the network means, without the wrapping of urllib."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(reason) or type(reason).__name__
