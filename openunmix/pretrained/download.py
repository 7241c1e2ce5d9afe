"""Download of weights into the cache: verified, resumable, one process at a time.

The cache is that of ``torch.hub``, so files downloaded by openunmix 1.3.0 are used again. A file
is used only if its SHA-256 starts with the prefix in the registry. Two environment variables:

``OPENUNMIX_MIRROR``
    Places of files, separated by commas and tried in order: folders, URLs, and ``zenodo`` for the
    server of the publishers, which is not asked if it is not among them. Files are found by their
    name, there or in a subfolder named after the model.
``OPENUNMIX_OFFLINE``
    If ``1``, the network is never used; the cache and a mirror that is a folder still are.
"""

from __future__ import annotations

import http.client
import logging
import os
import re
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import ExitStack, contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

from openunmix._files import sha256_of
from openunmix._version import __version__
from openunmix.errors import DownloadError, UnreachableError
from openunmix.pretrained.registry import (
    BUNDLED_MODEL,
    MODELS,
    ModelEntry,
    WeightFile,
    bundled_folder,
)

_log = logging.getLogger(__name__)

_OPEN_SECONDS = 4.0  # until the first byte: name resolution, connection, TLS, redirects
_READ_SECONDS = 4.0  # between two blocks of the response
_ATTEMPTS = 5  # interrupted transfers, each resumed where the last one ended
_BLOCK_SIZE = 1 << 18

#: Name of the registry's server among mirrors.
PUBLISHER = "zenodo"

_Place = list[str | Path]  # URLs or paths, one of which exists


class _AbsentError(UnreachableError):
    """The server or folder exists, the file does not."""


class _InterruptedError(DownloadError):
    """The transfer was interrupted; the bytes received are kept."""


class _RangeError(DownloadError):
    """The server does not have the requested range."""


def cache_folder() -> Path:
    """Return the folder of downloaded weights, ``checkpoints`` in that of ``torch.hub``."""
    import torch.hub

    return Path(torch.hub.get_dir()) / "checkpoints"


def cached_path(file: WeightFile) -> Path:
    """Return the path of a file in the cache, whether it exists or not."""
    return cache_folder() / file.name


def local_files(entry: ModelEntry) -> list[Path]:
    """Return the paths of a model's files in the package or cache, whether they exist or not."""
    folder = bundled_folder(entry) if entry.bundled else cache_folder()
    return [folder / file.name for file in entry.files.values()]


def is_intact(file: WeightFile, path: Path) -> bool:
    """Return whether a file exists and has the published SHA-256 prefix."""
    return path.is_file() and sha256_of(path).startswith(file.sha256_prefix)


def fetch_model(
    entry: ModelEntry,
    targets: Sequence[str] | None = None,
    *,
    progress: bool = True,
    mirror: str | None = None,
) -> dict[str, Path]:
    """Return verified files by target, of all targets if none are given, see :func:`fetch`."""
    chosen = entry.targets if targets is None else targets
    return {target: fetch(entry, target, progress=progress, mirror=mirror) for target in chosen}


def fetch(
    entry: ModelEntry, target: str, *, progress: bool = True, mirror: str | None = None
) -> Path:
    """Return the cached weights of one target, downloaded if necessary; a progress bar on stderr.

    The hash of a cached file is checked every time, which takes less time than loading it; a
    damaged file is downloaded again. ``mirror`` replaces ``OPENUNMIX_MIRROR``. UnreachableError,
    within 5 s a place, if none responds or has the file; DownloadError if one has a damaged file,
    the transfer is interrupted, or the file cannot be stored.
    """
    file = entry.files[target]
    path = cached_path(file)
    try:
        if is_intact(file, path):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_name(f"{path.name}.lock")):
            if not is_intact(file, path):  # another process may have been faster
                _fill_cache(_places(entry, file, mirror), file, path, progress)
    except DownloadError as error:
        kind = UnreachableError if isinstance(error, UnreachableError) else DownloadError
        raise kind(f"{error}. {_advice(entry, target)}") from error
    except OSError as error:
        raise DownloadError(
            f"cannot store {path}: {error}. Partial downloads are kept; free some space, or move "
            "the cache with the environment variable TORCH_HOME"
        ) from error
    return path


def _advice(entry: ModelEntry, target: str) -> str:
    """Return what a user can do about a failed download."""
    bundled = (model.name for model in MODELS.values() if model.bundled and target in model.files)
    return (
        f"Try again later, or put {entry.url_of(target)} into the folder {cache_folder()}, or set "
        f"OPENUNMIX_MIRROR to folders or URLs that have {entry.files[target].name}, or use the "
        f"bundled model: --model {next(bundled, BUNDLED_MODEL)}"
    )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock file; the system releases it if the process dies."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log.warning("waiting for another process that downloads %s", path.stem)
        lock.acquire(poll_interval=0.1)
    except NotImplementedError:  # a file system without locks: continue without
        pass
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):  # Windows keeps it while another process waits for it
            path.unlink()


def _fill_cache(places: Sequence[_Place], file: WeightFile, path: Path, progress: bool) -> None:
    """Store the file at ``path``, replacing a damaged one."""
    damaged = path.exists()
    if damaged:
        _log.warning("%s is damaged (its SHA-256 is not the published one) and was removed", path)
        path.unlink()
    part = path.with_name(f"{path.name}.part")
    try:
        if not is_intact(file, part):
            _fill_part(places, file, part, progress)
    except UnreachableError as error:
        if damaged:  # not an UnreachableError, which falls back to the bundled model
            raise DownloadError(f"{path} was damaged and has been removed; {error}") from error
        raise
    part.replace(path)


def _places(entry: ModelEntry, file: WeightFile, mirror: str | None) -> list[_Place]:
    """Return the places of a file in the order in which they are tried."""
    if mirror is None:
        mirror = os.environ.get("OPENUNMIX_MIRROR", "")
    names = [name for part in mirror.split(",") if (name := part.strip())]
    return [_place(entry, file, name) for name in names or [PUBLISHER]]


def _place(entry: ModelEntry, file: WeightFile, name: str) -> _Place:
    """Return the URLs or paths of a file at one place: by its name, or below that of the model."""
    if name == PUBLISHER:
        return [f"{entry.url.rstrip('/')}/{file.name}"]
    if re.match(r"https?://", name):
        base = name.rstrip("/")
        return [f"{base}/{file.name}", f"{base}/{entry.name}/{file.name}"]
    if "://" in name:
        raise DownloadError(
            f"mirror {name!r} is neither a folder, nor a URL of http or https, nor {PUBLISHER!r}"
        )
    folder = Path(name).expanduser()
    return [folder / file.name, folder / entry.name / file.name]


def _fill_part(places: Sequence[_Place], file: WeightFile, part: Path, progress: bool) -> None:
    """Complete ``part`` from the first place that has the published file."""
    failures: list[DownloadError] = []
    for place in places:
        if failures:
            _log.warning("%s; trying the next place", failures[-1])
        try:
            return _fill_from(place, file, part, progress)
        except DownloadError as error:
            failures.append(error)
    unreachable = all(isinstance(error, UnreachableError) for error in failures)
    kind = UnreachableError if unreachable else DownloadError
    raise kind("; ".join(map(str, failures))) from failures[-1]


def _fill_from(place: _Place, file: WeightFile, part: Path, progress: bool) -> None:
    """Complete ``part`` from one place, and verify it."""
    resumed = part.exists()
    source = _complete(place, part, progress)
    if resumed and not is_intact(file, part):
        part.unlink(missing_ok=True)  # may have started as another file: start again
        source = _complete(place, part, progress)
    if not is_intact(file, part):
        found = sha256_of(part)[: len(file.sha256_prefix)]
        part.unlink()
        raise DownloadError(
            f"{source} is not the published {file.name}: its SHA-256 begins with {found} instead "
            f"of {file.sha256_prefix}, so it was removed"
        )


def _complete(place: _Place, part: Path, progress: bool) -> str | Path:
    """Complete ``part`` from the first source of a place that exists, and return that source."""
    absences = []
    for source in place:
        try:
            if isinstance(source, str):
                _download(source, part, progress)
            else:
                _check_readable(source)
                shutil.copyfile(source, part)
            return source
        except _AbsentError as error:
            absences.append(str(error))
    raise UnreachableError(", ".join(absences))


def _check_readable(source: Path) -> None:
    """Raise for a file that is not there; errors of copying are those of the cache."""
    try:
        source.open("rb").close()
    except FileNotFoundError as error:
        raise _AbsentError(f"there is no file {source}") from error
    except OSError as error:
        raise _AbsentError(f"{source} cannot be read: {error.strerror}") from error


def _download(url: str, part: Path, progress: bool) -> None:
    """Append the missing bytes to ``part``, resuming interrupted transfers."""
    for _ in range(_ATTEMPTS):
        start = _size(part)
        try:
            return _append(url, part, start, progress)
        except _RangeError:
            if start == 0:
                raise
            part.unlink()
        except _InterruptedError as error:
            if _size(part) <= start:
                raise
            _log.info("%s", error)
    raise DownloadError(f"the transfer of {url} was interrupted {_ATTEMPTS} times; resume it later")


def _size(part: Path) -> int:
    """Return the number of bytes received so far."""
    return part.stat().st_size if part.exists() else 0


def _append(url: str, part: Path, start: int, progress: bool) -> None:
    """Request the bytes from ``start`` on, once, and append the response."""
    # torch.hub has a substitute for tqdm where that is not installed.
    from torch.hub import tqdm  # type: ignore[attr-defined]

    with _open(url, start) as answer:
        if answer.status != HTTPStatus.PARTIAL_CONTENT:
            start = 0  # a server without ranges sends the whole file
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise _RangeError(f"{url} did not send the requested range")
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
        raise _InterruptedError(
            f"the transfer of {url} was interrupted at {_size(part)} of {total} bytes"
        )


def _blocks(url: str, answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield the blocks of a response."""
    try:
        while block := answer.read1(_BLOCK_SIZE):
            yield block
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(
            f"the transfer of {url} was interrupted: {_reason(error)}"
        ) from error


def _open(url: str, start: int) -> http.client.HTTPResponse:
    """Send a request and wait for the first byte of the response, at most ``_OPEN_SECONDS``.

    In a thread, as name resolution has no timeout, and each address and redirect has its own.
    """
    if os.environ.get("OPENUNMIX_OFFLINE", "") not in ("", "0"):
        raise UnreachableError(f"{url} is not downloaded because OPENUNMIX_OFFLINE is set")
    headers = {"User-Agent": f"openunmix/{__version__}"}
    if start:
        headers["Range"] = f"bytes={start}-"
    future: Future[http.client.HTTPResponse] = Future()
    request = urllib.request.Request(url, headers=headers)
    threading.Thread(target=_answer, args=(request, future), daemon=True).start()
    try:
        return future.result(timeout=_OPEN_SECONDS)
    except FutureTimeoutError as error:  # also TimeoutError, from Python 3.11 on
        future.cancel()
        raise UnreachableError(f"{url} did not respond within {_OPEN_SECONDS:g} s") from error
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(url, error) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnreachableError(f"{url} cannot be reached: {_reason(error)}") from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https, and from http to http; urllib would also follow them to ftp."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request to follow."""
        allowed = ("https://",) if req.full_url.startswith("https:") else ("https://", "http://")
        if not newurl.lower().startswith(allowed):
            reason = f"redirects to {newurl}, which is not allowed"
            raise urllib.error.HTTPError(req.full_url, code, reason, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _answer(request: urllib.request.Request, future: Future[http.client.HTTPResponse]) -> None:
    """Resolve the future with the response, once its first byte has arrived, or with the error."""
    opener = urllib.request.build_opener(_Redirects)
    with ExitStack() as stack:
        try:
            answer = stack.enter_context(opener.open(request, timeout=_READ_SECONDS))
            answer.peek(1)
            with suppress(InvalidStateError):  # given up; the response is closed
                future.set_result(answer)
                stack.pop_all()
        except (OSError, http.client.HTTPException, ValueError) as error:
            with suppress(InvalidStateError):
                future.set_exception(error)


def _refusal(url: str, error: urllib.error.HTTPError) -> DownloadError:
    """Return the exception for an HTTP error."""
    if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return _RangeError(f"{url} has fewer bytes than the partial download")
    absent = error.code in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
    kind = _AbsentError if absent else UnreachableError
    return kind(f"{url} returned {error.code} {error.reason}")


def _reason(error: Exception) -> str:
    """Return the reason of a network error, without the wrapping of urllib."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(reason) or type(reason).__name__
