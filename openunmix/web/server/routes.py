"""The routes of the API and the pages."""

from __future__ import annotations

import asyncio
import errno
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from openunmix._version import __version__
from openunmix.web.server.downloads import StemFiles, archive
from openunmix.web.server.guard import APP_HEADERS, PLAYER_HEADERS, STATIC
from openunmix.web.server.job import Job, State, display_name
from openunmix.web.server.models import Offer, Offers, is_here
from openunmix.web.server.queue import JobView, Queue, QueueFullError
from openunmix.web.server.schema import Health, JobStatus, ModelStatus, Problem, job_status
from openunmix.web.server.uploads import FORM, Form, expected_size, receive
from openunmix.web.server.worker import DiskFullError, TaskError

__all__ = ["Services", "api", "pages"]

# Seconds between signs of life of a stream of events, and between its events at least.
_PULSE = 15.0
_PACE = 0.2

# Bytes a second of the most compressed upload that is likely: 32 kbit/s.
_SLOWEST = 4000


@dataclass(frozen=True)
class Services:
    """What the routes work with."""

    queue: Queue
    offers: Offers
    stem_files: StemFiles

    def status(self, view: JobView) -> JobStatus:
        """Describe a job."""
        return job_status(view, self.offers.default, self.queue.expiry(view.job))

    def found(self, job_id: str) -> JobView:
        """Return a job, or raise 404."""
        view = self.queue.view(job_id)
        if view is None:
            raise HTTPException(404, f"there is no job {job_id[:40]!r}; it may have been removed")
        return view

    def finished(self, job_id: str) -> Job:
        """Return a job that is done, or raise 404 or 409."""
        job = self.found(job_id).job
        if job.state is not State.DONE:
            raise HTTPException(409, f"there is no result: the job is {job.state.value}")
        return job


def _services(request: Request) -> Services:
    """Return what the application was made with."""
    services: Services = request.app.state.services
    return services


Use = Annotated[Services, Depends(_services)]


def _problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Describe errors of a route: those of all routes, and some more."""
    return {code: {"model": Problem} for code in (400, 401, 403, *codes)}


api = APIRouter(prefix="/api")
pages = APIRouter(include_in_schema=False)


@api.get("/health", responses=_problems())
def health(use: Use) -> Health:
    """Say that the server runs, and what it takes on."""
    settings = use.queue.settings
    states = [view.job.state for view in use.queue.views()]
    return Health(
        status="ok",
        version=__version__,
        waiting=states.count(State.WAITING),
        running=states.count(State.RUNNING),
        disk_used=use.queue.store.used(),
        max_upload=settings.max_upload,
        max_duration=settings.max_duration,
        max_jobs=settings.max_jobs,
        max_disk=settings.max_disk,
    )


@api.get("/models", responses=_problems())
def models(use: Use) -> list[ModelStatus]:
    """List the models."""
    return [
        ModelStatus(
            name=offer.name,
            default=offer.name == use.offers.default,
            downloaded=is_here(offer.name),
            bundled=offer.bundled,
            size=offer.size,
            targets=list(offer.targets),
            sample_rate=offer.sample_rate,
            licence=offer.licence,
            trained_on=offer.trained_on,
        )
        for offer in use.offers.all.values()
    ]


@api.get("/jobs", responses=_problems())
def jobs(use: Use) -> list[JobStatus]:
    """List all jobs, the oldest first."""
    return [use.status(view) for view in use.queue.views()]


@api.post(
    "/jobs",
    status_code=201,
    responses=_problems(408, 413, 415, 422, 429, 507),
    openapi_extra={
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": FORM}}}
    },
)
async def submit(request: Request, response: Response, use: Use) -> JobStatus:
    """Send a file to be separated."""
    queue, settings = use.queue, use.queue.settings
    try:
        with queue.arrival(expected_size(request)) as path:
            form = await receive(request, path, settings.max_upload)
            job = await run_sync(_examine, use, path, form)
            view = await run_sync(queue.submit, path, job)
    except QueueFullError as error:
        raise HTTPException(429, str(error), {"Retry-After": "60"}) from error
    except DiskFullError as error:
        raise HTTPException(507, str(error)) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise HTTPException(507, "the disk of the server is full; try again later") from error
    response.headers["Location"] = f"/api/jobs/{view.job.id}"
    return use.status(view)


def _examine(use: Services, path: Path, form: Form) -> Job:
    """Make a job of what has arrived; raise 415 or 422 if it cannot be done."""
    model, targets = form.one("model"), [name for name in form.fields.get("targets", []) if name]
    residual = (form.one("residual") or "false").lower()
    if residual not in ("true", "false"):
        raise HTTPException(422, f"residual is {residual[:50]!r}; it can be true or false")
    name = display_name(form.name or "")
    try:
        offer = use.offers.choose(model, targets)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    try:
        audio = use.queue.inspect(path, name)
    except TaskError as error:
        raise HTTPException(415, str(error)) from error
    duration, longest = audio["duration"], use.queue.settings.max_duration
    if duration is not None and duration > longest:
        raise HTTPException(
            422,
            f"{name!r} is {duration:.0f} seconds long, and {longest:g} are allowed; send a part",
        )
    return Job(
        id=secrets.token_hex(16),
        name=name,
        model=model,
        targets=tuple(targets),
        residual=residual == "true",
        duration=duration,
        size=_needed(offer, targets, residual == "true", audio, form.size, longest),
    )


def _needed(
    offer: Offer,
    targets: list[str],
    residual: bool,
    audio: dict[str, Any],
    size: int,
    longest: float,
) -> int:
    """Estimate the bytes of the results: the stems, and a quarter as much for the page."""
    duration = audio["duration"]
    seconds: float = min(longest, size / _SLOWEST) if duration is None else duration
    stems = len(targets or offer.targets) + residual
    return round(1.25 * stems * seconds * int(audio["bytes_per_second"]))


@api.get(
    "/events",
    responses=_problems()
    | {
        200: {
            "content": {"text/event-stream": {}},
            "description": "A stream of server-sent events: `jobs` with a list of all jobs at the "
            "start, then `job` with one that has changed, and `removed` with the id of one that "
            "has gone.",
        }
    },
    response_class=StreamingResponse,
)
async def events(use: Use) -> StreamingResponse:
    """Watch all jobs."""
    return StreamingResponse(
        _events(use), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


async def _events(use: Services) -> AsyncIterator[str]:
    """Yield events as they are sent."""
    changes = use.queue.changes.watch(_PULSE)
    await anext(changes)  # whatever changes from here on is not missed
    statuses = [use.status(view).model_dump(mode="json") for view in use.queue.views()]
    yield f"retry: 2000\n{_event('jobs', statuses)}"
    async for changed in changes:
        for job_id in changed:
            view = use.queue.view(job_id)
            if view is None:
                yield _event("removed", {"id": job_id})
            else:
                yield _event("job", use.status(view).model_dump(mode="json"))
        if not changed:
            yield ": still here\n\n"
        await asyncio.sleep(_PACE)


def _event(name: str, content: object) -> str:
    """Return one event as it is sent."""
    return f"event: {name}\ndata: {json.dumps(content)}\n\n"


@api.get("/jobs/{job_id}", responses=_problems(404))
def job(job_id: str, use: Use) -> JobStatus:
    """Return one job."""
    return use.status(use.found(job_id))


@api.delete("/jobs/{job_id}", status_code=204, responses=_problems(404))
def remove(job_id: str, use: Use) -> None:
    """Cancel a job if it is not finished, and remove it with all its files."""
    use.found(job_id)
    use.queue.remove(job_id)


def _binary(kind: str) -> dict[int | str, dict[str, Any]]:
    """Describe a route that sends a file."""
    schema = {"type": "string", "format": "binary"}
    return _problems(404, 409) | {200: {"content": {kind: {"schema": schema}}}}


@api.get(
    "/jobs/{job_id}/result.zip",
    responses=_binary("application/zip"),
    response_class=StreamingResponse,
)
def result_zip(job_id: str, use: Use) -> StreamingResponse:
    """Download all stems of a finished job."""
    job = use.finished(job_id)
    folder = use.queue.store.result(job)
    files = {name: folder / name for name in job.files.values()}
    return StreamingResponse(
        archive(files), media_type="application/zip", headers=_attachment(f"{job.title}.zip")
    )


@api.get(
    "/jobs/{job_id}/result.stem.mp4",
    responses=_binary("audio/mp4") | _problems(500, 507),
    response_class=FileResponse,
)
def result_stem_mp4(job_id: str, use: Use) -> FileResponse:
    """Download mixture and stems of a finished job as one file for DJ software."""
    job = use.finished(job_id)
    try:
        path = use.stem_files.get(job)
    except DiskFullError as error:
        raise HTTPException(507, str(error)) from error
    except TaskError as error:
        use.finished(job_id)  # it may have been removed in the meantime
        raise HTTPException(500, str(error)) from error
    return _file(path, "audio/mp4", f"{job.title}.stem.mp4")


@api.get(
    "/jobs/{job_id}/files/{target}", responses=_binary("audio/wav"), response_class=FileResponse
)
def stem(job_id: str, target: str, use: Use) -> FileResponse:
    """Download one stem of a finished job."""
    job = use.finished(job_id)
    if target not in job.files:
        raise HTTPException(404, f"there is no stem {target[:50]!r}; there are {list(job.files)}")
    path = use.queue.store.result(job) / job.files[target]
    return _file(path, "audio/wav", f"{job.title} - {path.name}")


def _file(path: Path, kind: str, name: str) -> FileResponse:
    """Send a file, which may have been removed a moment ago."""
    if not path.is_file():
        raise HTTPException(404, "the result has just been removed")
    return FileResponse(path, media_type=kind, filename=name)


def _attachment(name: str) -> dict[str, str]:
    """Return the header that names a download."""
    header: str = FileResponse("", filename=name).headers["content-disposition"]
    return {"Content-Disposition": header}


@pages.get("/")
def index() -> Response:
    """Return the page of the app."""
    return FileResponse(STATIC / "app.html", headers=APP_HEADERS)


@pages.get("/jobs/{job_id}/{name}")
def player(job_id: str, name: str, use: Use) -> Response:
    """Return the page to listen to a finished job, or one of the files beside it."""
    job = use.finished(job_id)
    if name not in job.result["page"]:
        raise HTTPException(404, f"there is no page {name[:50]!r}")
    path = use.queue.store.result(job) / "page" / name
    if not path.is_file():
        raise HTTPException(404, "the result has just been removed")
    return FileResponse(path, headers=PLAYER_HEADERS)
