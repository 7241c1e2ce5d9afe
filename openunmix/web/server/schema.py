"""Responses of the API, as its OpenAPI document describes them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from openunmix.web.server.job import State
from openunmix.web.server.queue import JobView


class Problem(BaseModel):
    """Error."""

    detail: str = Field(description="What was given, what was expected, and what to do.")


class JobStatus(BaseModel):
    """A job and its progress."""

    id: str = Field(description="32 hexadecimal digits.")
    name: str = Field(description="File name, sanitised.")
    state: Literal["waiting", "running", "done", "failed"]
    stage: Literal["preparing", "separating", "finishing"] | None = Field(
        description="Stage of a running job: loading the model, separating, writing the page."
    )
    position: int | None = Field(description="Number of jobs before it, if it is waiting.")
    duration: float | None = Field(description="Seconds of audio, if known.")
    seconds: float = Field(description="Seconds of audio that are separated.")
    seconds_left: float | None = Field(description="Estimated seconds until it is done.")
    model: str = Field(description="The model that is, or will be, used.")
    licence: str | None = Field(description="Licence of the model's weights.")
    targets: list[str] = Field(description="The requested targets; empty for all of the model.")
    residual: bool = Field(description="Whether the residual was requested as well.")
    files: list[str] = Field(description="The stems, if it is done: names for /files/{target}.")
    notes: list[str] = Field(description="Remarks on the result.")
    error: str | None = Field(description="Why it failed.")
    created: datetime
    started: datetime | None
    finished: datetime | None
    expires: datetime | None = Field(description="When it will be removed.")


class ModelStatus(BaseModel):
    """A model that can be requested."""

    name: str
    default: bool = Field(description="Whether it is used by requests that name none.")
    downloaded: bool = Field(default=False, description="If not, its first use downloads it.")
    bundled: bool = Field(default=False, description="Whether it is part of Open-Unmix.")
    size: int | None = Field(default=None, description="Bytes to download, if known.")
    targets: list[str]
    sample_rate: int = Field(description="In Hz.")
    licence: str = Field(description="Licence of the weights.")
    trained_on: str = ""


class Health(BaseModel):
    """Status and limits of the server."""

    status: Literal["ok"]
    version: str
    waiting: int = Field(description="Jobs that wait.")
    running: int = Field(description="Jobs that run: 0 or 1.")
    disk_used: int = Field(description="Bytes of all uploads and results.")
    max_upload: int = Field(description="Maximum bytes of a file.")
    max_duration: float = Field(description="Maximum seconds of a file.")
    max_jobs: int = Field(description="Maximum number of waiting jobs.")
    max_disk: int = Field(description="Maximum bytes of all uploads and results.")


def job_status(view: JobView, default_model: str, expires: float | None) -> JobStatus:
    """Describe a job to a client; ``expires`` is in seconds since 1970."""
    job, progress = view.job, view.progress
    done = job.duration if job.state is State.DONE else None
    return JobStatus.model_validate(
        vars(job)
        | {
            "state": job.state.value,
            "stage": progress.stage if progress else None,
            "position": view.position,
            "seconds": progress.seconds if progress else done or 0.0,
            "seconds_left": view.eta,
            "model": job.result.get("model") or job.model or default_model,
            "licence": job.result.get("licence"),
            "files": list(job.files),
            "notes": job.result.get("notes", []),
            "error": job.error or None,
            # Pydantic makes dates in UTC of them.
            "created": round(job.created),
            "started": round(job.started) or None,
            "finished": round(job.finished) or None,
            "expires": round(expires or 0) or None,
        }
    )
