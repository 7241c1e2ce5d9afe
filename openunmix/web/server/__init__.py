"""A server for separating songs in a browser, and for programs that send songs to it.

It keeps a queue, separates one song after the other in a process of its own, and offers the
results to listen to and to download. ``docs/serve.md`` describes its use, its API and what keeps
strangers out.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType

from openunmix._version import __version__
from openunmix.errors import MissingExtraError
from openunmix.web.server.settings import Settings

try:
    import python_multipart  # noqa: F401 - of no use without
    import uvicorn
    from fastapi import FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from fastapi.staticfiles import StaticFiles
except ImportError as error:
    raise MissingExtraError(
        f"the server needs a package that is not installed ({error.name}); install the extra: "
        "pip install 'openunmix[serve]'"
    ) from error

from openunmix.web.server.downloads import StemFiles
from openunmix.web.server.guard import STATIC, Guard, Parting
from openunmix.web.server.models import Offers
from openunmix.web.server.queue import Queue
from openunmix.web.server.routes import Services, api, pages
from openunmix.web.server.tasks import separate
from openunmix.web.server.worker import Task

__all__ = ["Server", "create_app"]

logger = logging.getLogger(__name__)


def create_app(settings: Settings, task: Task = separate) -> FastAPI:
    """Make the application, for any ASGI server; one process and one application a folder.

    Parameters
    ----------
    settings : Settings
        Folder, model and limits.
    task : callable
        What separates a file.

    Returns
    -------
    FastAPI
        The application. It begins to work when the server starts it up.

    Raises
    ------
    OpenUnmixError
        If the model of the settings is not there.
    OSError
        If the folder cannot be used.
    """
    offers = Offers(settings.model)
    queue = Queue(settings, offers.source, task)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        queue.start()
        try:
            yield
        finally:
            queue.stop()

    app = FastAPI(
        title="Open-Unmix",
        version=__version__,
        description="Separates songs. See docs/serve.md.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.services = Services(queue, offers, StemFiles(queue.store))
    app.include_router(api)
    app.include_router(pages)
    app.mount("/static", StaticFiles(directory=STATIC))
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(Parting)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _failed)
    return app


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """Say in one line what is wrong with a request."""
    assert isinstance(error, RequestValidationError)
    faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
    return JSONResponse({"detail": "; ".join(faults)}, 422)


async def _failed(_: Request, error: Exception) -> JSONResponse:
    """Say that it is not the fault of the request; the ASGI server logs the error."""
    return JSONResponse({"detail": "the server has failed; its log says why"}, 500)


class Server(uvicorn.Server):
    """The application on a socket.

    Parameters
    ----------
    settings : Settings
        As for :func:`create_app`.
    task : callable
        As for :func:`create_app`.
    """

    def __init__(self, settings: Settings, task: Task = separate) -> None:
        app = create_app(settings, task)
        self._changes = app.state.services.queue.changes
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                ws="none",
                access_log=False,  # it would show the token
                server_header=False,
                timeout_graceful_shutdown=5,
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End the streams of events, which would never end by themselves, and then the server.

        Parameters
        ----------
        sig : int
            The signal.
        frame : frame, optional
            Where it came.
        """
        self._changes.close()
        super().handle_exit(sig, frame)
