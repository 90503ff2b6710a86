"""The web application: addresses, limits, and every failure as one sentence in JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import anyio
from anyio import to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from beholder.errors import BeholderError
from beholder.limits import limit_pixels
from beholder.serve import answers
from beholder.serve.gate import BusyError, Gate
from beholder.serve.static_site import DECODER, MODEL_NAME, default_web_model

Result = TypeVar("Result")

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


_DRAINED = 8
"""Uploads of up to so many times the limit are taken in and thrown away: who is cut off while sending never reads the
sentence that says why."""

PAGE = Path(str(resources.files("beholder"))) / "serve" / "page"


@dataclass(frozen=True)
class Limits:
    """Bounds on what visitors may ask for."""

    bytes: int = 32 << 20
    """Largest upload."""
    pixels: int = 24_000_000
    """Largest picture, width x height."""
    jobs: int = 2
    """Jobs that run at once."""
    waiting: int = 8
    """Jobs that wait for one of those."""
    upload_seconds: float = 60.0
    """Time for an upload to arrive."""


class RefusedError(BeholderError):
    """A request that is refused before any work, with its HTTP status."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def create_app(limits: Limits | None = None, hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")) -> Starlette:
    """Make the application.

    Args:
        limits: bounds on what visitors may ask for.
        hosts: names under which it may be reached ("*" for any): other pages cannot reach it through a name of theirs.
    """
    service = _Service(limits or Limits())
    return Starlette(
        routes=[
            Route("/api/options", service.options),
            Route("/api/look", service.look, methods=["POST"]),
            Route("/api/evaluate", service.evaluate, methods=["POST"]),
            Route("/api/curve", service.curve, methods=["POST"]),
            Route(f"/decoder/{MODEL_NAME}", service.model),
            Mount("/decoder", StaticFiles(directory=DECODER, html=True)),
            Mount("/", StaticFiles(directory=PAGE, html=True)),
        ],
        middleware=[Middleware(_Headers), Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
        exception_handlers={BeholderError: _refuse, ClientDisconnect: _gone, Exception: _fail},
    )


class _Service:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._gate = Gate(limits.jobs, limits.waiting)

    async def options(self, request: Request) -> Response:
        found = await to_thread.run_sync(answers.options)
        return JSONResponse(found | {"limits": {"bytes": self._limits.bytes, "pixels": self._limits.pixels}})

    async def model(self, request: Request) -> Response:
        return Response(await to_thread.run_sync(default_web_model), media_type="application/octet-stream")

    async def look(self, request: Request) -> Response:
        quality = request.query_params.get("quality")
        wanted = answers.parse("quality", quality, int) if quality else None
        data = await self._upload(request)
        return JSONResponse(await self._work(lambda: answers.look(data, wanted)))

    async def evaluate(self, request: Request) -> Response:
        choice = answers.Choice.read(dict(request.query_params))
        data = await self._upload(request)
        return JSONResponse(await self._work(lambda: answers.evaluate(data, choice)))

    async def curve(self, request: Request) -> Response:
        alpha = answers.parse("alpha", request.query_params.get("alpha") or "0", float)
        data = await self._upload(request)
        points = answers.curve(data, alpha)
        # The first point comes before the answer begins, so that a bad photo still gets a status of its own.
        first = await self._work(lambda: next(points, None))
        return StreamingResponse(self._lines(first, points), media_type="application/x-ndjson")

    async def _lines(self, first: dict[str, Any] | None, points: Iterator[dict[str, Any]]) -> AsyncIterator[str]:
        """One line of JSON for each point, then ``{"done": true}`` or the sentence of an error."""
        point = first
        try:
            while point is not None:
                yield json.dumps(point) + "\n"
                point = await self._work(lambda: next(points, None), known=True)
            yield json.dumps({"done": True}) + "\n"
        except BeholderError as error:
            yield json.dumps({"error": str(error)}) + "\n"

    async def _work(self, job: Callable[[], Result], known: bool = False) -> Result:
        """Run ``job`` in a thread, when there is a place for it."""

        def bounded() -> Result:
            with limit_pixels(self._limits.pixels):
                try:
                    return job()
                except MemoryError:
                    raise RefusedError(413, "There is not enough memory for this image: use a smaller one.") from None

        async with self._gate.place(known):
            return await to_thread.run_sync(bounded)

    async def _upload(self, request: Request) -> bytes:
        """The body of a request; raise RefusedError for one that is foreign, empty, too large or too slow."""
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            raise RefusedError(403, "Another site's page sent this request: open this server's own page.")
        most = self._limits.bytes
        too_large = RefusedError(413, f"The file is larger than {most / (1 << 20):g} MiB: choose a smaller one.")
        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length) > _DRAINED * most:
            raise too_large
        parts: list[bytes] = []
        size = 0
        try:
            with anyio.fail_after(self._limits.upload_seconds):
                async for part in request.stream():
                    size += len(part)
                    if size > _DRAINED * most:
                        raise too_large
                    if size > most:
                        parts.clear()
                    else:
                        parts.append(part)
        except TimeoutError:
            raise RefusedError(408, "The upload took too long: try again.") from None
        if size > most:
            raise too_large
        if not size:
            raise RefusedError(400, "The file is empty: choose a photo.")
        return b"".join(parts)


def _refuse(request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, RefusedError) else 503 if isinstance(error, BusyError) else 400
    return JSONResponse({"error": " ".join(str(error).split())}, status)


def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=400)


def _fail(request: Request, error: Exception) -> Response:
    logging.getLogger("beholder.serve").error("a request failed", exc_info=error)
    return JSONResponse({"error": "The server failed on this file: its log says why. Please report it."}, 500)


class _Headers:
    """Adds HEADERS to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(key.lower().encode(), value.encode()) for key, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)
