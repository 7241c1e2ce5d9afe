"""What the API says, as it is described by its OpenAPI document."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Literal

from pydantic import BaseModel, Field

from openunmix.web.server.job import State
from openunmix.web.server.queue import JobView

__all__ = ["Health", "JobStatus", "ModelStatus", "Problem", "job_status"]


class Problem(BaseModel):
    """Why a request was not granted."""

    detail: str = Field(description="What was found, what was expected, and what to do.")


class JobStatus(BaseModel):
    """One file, and how far its separation is."""

    id: str = Field(description="32 hexadecimal digits.")
    name: str = Field(description="The name of the file, made harmless.")
    state: Literal["waiting", "running", "done", "failed"]
    stage: Literal["preparing", "separating", "finishing"] | None = Field(
        description="What is being done, if it is running: the model is loaded, the file is "
        "separated, the page is written."
    )
    position: int | None = Field(description="How many are done before it, if it is waiting.")
    duration: float | None = Field(description="Seconds of audio, if they can be told.")
    seconds: float = Field(description="Seconds of audio that are separated.")
    seconds_left: float | None = Field(description="Estimate of the time until it is done.")
    model: str = Field(description="The model that is, or will be, used.")
    licence: str | None = Field(description="What the weights of that model may be used for.")
    targets: list[str] = Field(description="The targets asked for; all of the model if empty.")
    residual: bool = Field(description="Whether what the targets leave is wanted, too.")
    files: list[str] = Field(description="The stems, if it is done: names for /files/{target}.")
    notes: list[str] = Field(description="What is worth to know about the result.")
    error: str | None = Field(description="Why it failed.")
    created: datetime
    started: datetime | None
    finished: datetime | None
    expires: datetime | None = Field(description="When it will be removed.")


class ModelStatus(BaseModel):
    """A model that can be asked for."""

    name: str
    default: bool = Field(description="Whether it is used by those who name none.")
    downloaded: bool = Field(description="Whether it is here; otherwise its first use fetches it.")
    bundled: bool = Field(description="Whether it is a part of Open-Unmix.")
    size: int | None = Field(description="Bytes to download, if known.")
    targets: list[str]
    sample_rate: int = Field(description="In Hz.")
    licence: str = Field(description="What the weights may be used for.")
    trained_on: str


class Health(BaseModel):
    """That the server runs, and what it takes on."""

    status: Literal["ok"]
    version: str
    waiting: int = Field(description="Files that wait.")
    running: int = Field(description="Files that are being separated: 0 or 1.")
    disk_used: int = Field(description="Bytes of all that is kept.")
    max_upload: int = Field(description="Bytes that a file may have.")
    max_duration: float = Field(description="Seconds that a file may have.")
    max_jobs: int = Field(description="Files that may wait.")
    max_disk: int = Field(description="Bytes that may be kept.")


def job_status(view: JobView, default_model: str, expires: float | None) -> JobStatus:
    """Describe a job to a client.

    Parameters
    ----------
    view : JobView
        The job as of now.
    default_model : str
        The model of jobs that name none.
    expires : float, optional
        When it will be removed, in seconds since 1970.

    Returns
    -------
    JobStatus
        The description.
    """
    job, progress = view.job, view.progress
    done = job.duration if job.state is State.DONE else None
    return JobStatus(
        id=job.id,
        name=job.name,
        state=job.state.value,
        stage=progress.stage if progress else None,  # type: ignore[arg-type]
        position=view.position,
        duration=job.duration,
        seconds=progress.seconds if progress else done or 0.0,
        seconds_left=view.left,
        model=job.result.get("model") or job.model or default_model,
        licence=job.result.get("licence"),
        targets=list(job.targets),
        residual=job.residual,
        files=list(job.files),
        notes=job.result.get("notes", []),
        error=job.error or None,
        created=_time(job.created),
        started=_time(job.started) if job.started else None,
        finished=_time(job.finished) if job.finished else None,
        expires=_time(expires) if expires else None,
    )


def _time(seconds: float) -> datetime:
    """Return a time in seconds since 1970 as a date, in UTC."""
    return datetime.fromtimestamp(round(seconds), timezone.utc)
