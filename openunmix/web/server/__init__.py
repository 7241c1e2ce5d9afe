"""A server that separates songs in the browser, and for programs through an API.

It keeps a queue, separates one file after the other in a process of its own, and offers the
results in the player and as downloads. ``docs/serve.md`` describes use, API and security.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType

from openunmix._version import __version__
from openunmix.errors import MissingExtraError
from openunmix.web.server.settings import Settings

try:
    import uvicorn
    from fastapi import FastAPI, Request, Response
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse, PlainTextResponse
    from fastapi.staticfiles import StaticFiles
    from starlette.exceptions import HTTPException
except ImportError as error:
    raise MissingExtraError(
        f"the server needs a package that is not installed ({error.name}); install the extra: "
        "pip install 'openunmix[serve]'"
    ) from error

from openunmix.web.server.access import AccessControl
from openunmix.web.server.downloads import StemMP4Files
from openunmix.web.server.drain import DrainMiddleware
from openunmix.web.server.headers import SecurityHeaders
from openunmix.web.server.methods import HeadMiddleware, other_method
from openunmix.web.server.models import ModelCatalogue
from openunmix.web.server.queue import Queue
from openunmix.web.server.routes import STATIC, Services, api, pages
from openunmix.web.server.tasks import separate
from openunmix.web.server.worker import Task

__all__ = ["Server"]


def _create_app(settings: Settings, task: Task = separate) -> FastAPI:
    """Make the application, which works during its lifespan; one application for each folder."""
    catalogue = ModelCatalogue(settings.model)
    queue = Queue(settings, catalogue.source, task)

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
        docs_url=None,  # these pages load scripts from other sites
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.services = Services(queue, catalogue, StemMP4Files(queue.store))
    app.include_router(api)
    app.include_router(pages)
    app.mount("/static", StaticFiles(directory=STATIC))
    # The last one added is the first to see a request.
    app.add_middleware(AccessControl, settings=settings)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(DrainMiddleware)
    app.add_middleware(HeadMiddleware)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _failed)
    app.add_exception_handler(HTTPException, _refused)
    return app


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """Report an invalid request in one line."""
    assert isinstance(error, RequestValidationError)
    faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
    return JSONResponse({"detail": "; ".join(faults)}, 422)


async def _refused(request: Request, error: Exception) -> Response:
    """Report an error as JSON, or on a page of a browser as text."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return other_method(request, [*api.routes, *pages.routes])
    is_page = "text/html" in request.headers.get("accept", "")
    if is_page and not request.url.path.startswith("/api/"):
        return PlainTextResponse(error.detail, error.status_code, error.headers)
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)


async def _failed(_: Request, error: Exception) -> JSONResponse:
    """Report an internal error, which the ASGI server logs."""
    return JSONResponse({"detail": "internal error; see the log of the server"}, 500)


class Server(uvicorn.Server):
    """The application on a socket.

    Parameters
    ----------
    settings, task
        Folder, model and limits, and what separates a file.
    """

    def __init__(self, settings: Settings, task: Task = separate) -> None:
        app = _create_app(settings, task)
        self._events = app.state.services.queue.events
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                ws="none",
                access_log=False,  # it would contain the token
                server_header=False,
                timeout_graceful_shutdown=5,
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End the event streams, which never end by themselves, and then the server."""
        self._events.close()
        super().handle_exit(sig, frame)
