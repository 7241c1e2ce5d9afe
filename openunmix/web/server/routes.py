"""The routes of the API and the pages."""

from __future__ import annotations

import asyncio
import errno
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from openunmix._version import __version__
from openunmix.web.server.downloads import StemMP4Files, zip_stream
from openunmix.web.server.headers import APP_HEADERS, PLAYER_HEADERS
from openunmix.web.server.job import Job, State, display_name
from openunmix.web.server.models import ModelCatalogue
from openunmix.web.server.queue import JobView, Queue, QueueFullError
from openunmix.web.server.schema import Health, JobStatus, ModelStatus, Problem, job_status
from openunmix.web.server.uploads import Form, FormDescription, expected_size, receive
from openunmix.web.server.worker import CrashError, DiskFullError, TaskError

#: Folder of the static files.
STATIC = Path(__file__).parents[1] / "static"

_EVENT_INTERVAL = 0.2  # seconds between batches of events
_RECONNECT_DELAY = 2000  # milliseconds, of browsers that lost the event stream

# Bytes per second of audio of the most compressed upload to be expected: 32 kbit/s.
_MIN_BYTE_RATE = 4000


@dataclass(frozen=True)
class Services:
    """What the routes use."""

    queue: Queue
    catalogue: ModelCatalogue
    stem_mp4: StemMP4Files

    def status(self, view: JobView) -> JobStatus:
        """Describe a job."""
        return job_status(view, self.catalogue.default, self.queue.expiry(view.job))

    def find(self, job_id: str) -> JobView:
        """Return a job, or raise 404."""
        view = self.queue.view(job_id)
        if view is None:
            raise HTTPException(404, f"there is no job {job_id[:40]!r}; it may have been removed")
        return view


def _services(request: Request) -> Services:
    """Return the services of the application."""
    services: Services = request.app.state.services
    return services


Use = Annotated[Services, Depends(_services)]


def _find_done(job_id: str, use: Use) -> Job:
    """Return a job that is done, or raise 404 or 409."""
    job = use.find(job_id).job
    if job.state is not State.DONE:
        raise HTTPException(409, f"there is no result: the job is {job.state.value}")
    return job


Done = Annotated[Job, Depends(_find_done)]


def _problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Describe errors."""
    return {code: {"model": Problem} for code in codes}


_FORM = {"multipart/form-data": {"schema": FormDescription.model_json_schema()}}

api = APIRouter(prefix="/api", responses=_problems(400, 401, 403))
pages = APIRouter(include_in_schema=False)


@api.get("/health")
def health(use: Use) -> Health:
    """Return status and limits of the server."""
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


@api.get("/models")
def models(use: Use) -> list[ModelStatus]:
    """List the models."""
    return use.catalogue.statuses()


@api.get("/jobs")
def jobs(use: Use) -> list[JobStatus]:
    """List all jobs in the order of arrival."""
    return [use.status(view) for view in use.queue.views()]


@api.post(
    "/jobs",
    status_code=201,
    responses=_problems(408, 413, 415, 422, 429, 500, 507),
    openapi_extra={"requestBody": {"required": True, "content": _FORM}},
)
async def submit(request: Request, response: Response, use: Use) -> JobStatus:
    """Upload a file to be separated."""
    try:
        with use.queue.upload(expected_size(request)) as path:
            form = await receive(request, path, use.queue.settings.max_upload)
            job = await run_sync(_make_job, use, path, form)
            view = await run_sync(use.queue.submit, path, job)
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


def _make_job(use: Services, path: Path, form: Form) -> Job:
    """Make a job of an upload; raise 415 or 422 if it cannot be separated."""
    model, targets = form.one("model"), [name for name in form.fields.get("targets", []) if name]
    residual = (form.one("residual") or "false").lower()
    if residual not in ("true", "false"):
        raise HTTPException(422, f"residual is {residual[:50]!r}; it can be true or false")
    name = display_name(form.name or "")
    try:
        chosen = use.catalogue.choose(model, targets)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    try:
        audio = use.queue.inspect(path, name)
    except CrashError as error:
        raise HTTPException(500, str(error)) from error
    except TaskError as error:
        raise HTTPException(415, str(error)) from error
    duration, longest = audio["duration"], use.queue.settings.max_duration
    if duration is not None and duration > longest:
        raise HTTPException(
            422,
            f"{name!r} is {duration:.0f} seconds long, the maximum is {longest:g}; send an excerpt",
        )
    seconds = min(longest, form.size / _MIN_BYTE_RATE) if duration is None else duration
    stems = len(targets or chosen.targets) + (residual == "true")
    return Job(
        id=secrets.token_hex(16),
        name=name,
        model=model,
        targets=tuple(targets),
        residual=residual == "true",
        duration=duration,
        # The player page takes about a quarter of the size of the stems.
        size=round(1.25 * stems * seconds * audio["bytes_per_second"]),
    )


@api.get(
    "/events",
    responses={
        200: {
            "description": "A stream of server-sent events: `jobs` with a list of all jobs at the "
            "start, then `job` with one that has changed, and `removed` with the id of one that "
            "was removed."
        }
    },
    response_class=EventSourceResponse,
)
async def events(use: Use) -> AsyncIterator[ServerSentEvent]:
    """Watch all jobs."""
    changes = use.queue.events.subscribe()
    await anext(changes)  # no change is missed from here on
    statuses = [use.status(view) for view in use.queue.views()]
    yield ServerSentEvent(event="jobs", data=statuses, retry=_RECONNECT_DELAY)
    async for changed in changes:
        for job_id in changed:
            view = use.queue.view(job_id)
            if view is None:
                yield ServerSentEvent(event="removed", data={"id": job_id})
            else:
                yield ServerSentEvent(event="job", data=use.status(view))
        await asyncio.sleep(_EVENT_INTERVAL)


@api.get("/jobs/{job_id}", responses=_problems(404))
def job(job_id: str, use: Use) -> JobStatus:
    """Return one job."""
    return use.status(use.find(job_id))


@api.delete("/jobs/{job_id}", status_code=204, responses=_problems(404))
def remove(job_id: str, use: Use) -> None:
    """Cancel a job if it is not finished, and remove it with all its files."""
    use.find(job_id)
    use.queue.remove(job_id)


def _binary(media_type: str) -> dict[int | str, dict[str, Any]]:
    """Describe the responses of a download."""
    schema = {"type": "string", "format": "binary"}
    return _problems(404, 409) | {200: {"content": {media_type: {"schema": schema}}}}


@api.get(
    "/jobs/{job_id}/result.zip",
    responses=_binary("application/zip"),
    response_class=StreamingResponse,
)
def result_zip(job: Done, use: Use) -> StreamingResponse:
    """Download all stems of a finished job."""
    folder = use.queue.store.result(job)
    # FileResponse encodes names in the header.
    named = FileResponse("", filename=f"{job.title}.zip").headers["content-disposition"]
    return StreamingResponse(
        zip_stream({name: folder / name for name in job.files.values()}),
        media_type="application/zip",
        headers={"Content-Disposition": named},
    )


@api.get(
    "/jobs/{job_id}/result.stem.mp4",
    responses=_binary("audio/mp4") | _problems(500, 507),
    response_class=FileResponse,
)
def result_stem_mp4(job: Done, use: Use) -> FileResponse:
    """Download mixture and stems of a finished job as one file for DJ software."""
    try:
        path = use.stem_mp4.get(job)
    except DiskFullError as error:
        raise HTTPException(507, str(error)) from error
    except TaskError as error:
        use.find(job.id)  # it may have been removed in the meantime
        raise HTTPException(500, str(error)) from error
    return _file(path, media_type="audio/mp4", filename=f"{job.title}.stem.mp4")


@api.get(
    "/jobs/{job_id}/files/{target}", responses=_binary("audio/wav"), response_class=FileResponse
)
def stem(job: Done, target: str, use: Use) -> FileResponse:
    """Download one stem of a finished job."""
    if target not in job.files:
        raise HTTPException(404, f"there is no stem {target[:50]!r}; there are {list(job.files)}")
    path = use.queue.store.result(job) / job.files[target]
    return _file(path, media_type="audio/wav", filename=f"{job.title} - {path.name}")


def _file(path: Path, **options: Any) -> FileResponse:
    """Send a file of a job, which may have been removed in the meantime."""
    if not path.is_file():
        raise HTTPException(404, "the result has just been removed")
    return FileResponse(path, **options)


@pages.get("/")
def app() -> FileResponse:
    """Return the page of the app."""
    return FileResponse(STATIC / "app.html", headers=APP_HEADERS)


@pages.get("/jobs/{job_id}/{name}")
def player(job: Done, name: str, use: Use) -> FileResponse:
    """Return the player page of a finished job, or one of its scripts."""
    if name not in job.result["page"]:
        raise HTTPException(404, f"there is no page {name[:50]!r}")
    return _file(use.queue.store.result(job) / "page" / name, headers=PLAYER_HEADERS)
