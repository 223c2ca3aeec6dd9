"""The HTTP endpoint: /metrics, /healthz, /readyz, /status, POST /checkpoint, and / for people.

Nothing that a client does costs more than a bounded amount: connections are limited in number and age, requests in size, and
answers in number a second; metrics, which are expensive to make, are made at most once a second.
"""

from __future__ import annotations

import asyncio
import hmac
import html
import ipaddress
import json
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import exposition

from cowbook.errors import ServiceError
from cowbook.telemetry.logging import get_logger

_MOST_CONNECTIONS = 64
_LONGEST_CONNECTION_SECONDS = 60.0
_LONGEST_CHECKPOINT_SECONDS = 50.0
_MOST_PER_SECOND = 100
_MOST_AT_ONCE = 20
_LAST_ANSWERS_SECONDS = 1.0  # for clients that still read when all ends
_FRESH_SECONDS = 1.0
_LARGEST_REQUEST_BYTES = 16_384  # no body is ever read
_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class View(Protocol):
    """What the endpoint shows; every method is called on its loop, and is quick."""

    def render_metrics(self, *, openmetrics: bool) -> bytes:
        """The exposition, as OpenMetrics 1.0.0 or in the plain format 0.0.4."""

    def status(self) -> dict[str, Any]:
        """What /status says."""

    def ailing(self) -> list[str]:
        """Ids of the symbols whose event loop does not answer."""

    async def checkpoint(self, symbol_id: str | None, *, waits: bool) -> list[dict[str, Any]]:
        """Take checkpoints, of all symbols or one: for each id, epoch and error. Raises KeyError for an unknown symbol.

        The epoch is the new checkpoint's, or without `waits` that of the newest one so far.
        """


class _ErrorLog:
    """Where aiohttp logs to: what clients do wrong is theirs, anything else is a mistake here."""

    def debug(self, text: str, *arguments: object, **_: object) -> None:
        """As logging.Logger."""
        get_logger().debug("http", note=text % arguments)

    def exception(self, text: str, *arguments: object, exc_info: BaseException | None = None) -> None:
        """As logging.Logger."""
        if isinstance(exc_info, HttpProcessingError):
            self.debug(text, *arguments)
        else:
            get_logger().error("http", note=text % arguments, exc_info=exc_info or True)


class _Connection(web.RequestHandler):
    """A connection that says when it begins and when it has really ended."""

    def __init__(self, server: web.Server, owner: HttpServer) -> None:
        log: Any = _ErrorLog()
        loop = asyncio.get_running_loop()
        super().__init__(server, loop=loop, logger=log, keepalive_timeout=30.0, read_bufsize=_LARGEST_REQUEST_BYTES)
        self._owner = owner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._owner.begun(self, transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._owner.ended(self)
        super().connection_lost(exc)


class HttpServer:
    """Listens from `start` to `close`."""

    def __init__(self, view: View, listen: str, token: str) -> None:
        """`listen` is host:port; `token` lets clients that are not on this machine ask for checkpoints, "" lets none."""
        self._view = view
        self._listen = listen
        self._token = token
        self._server: asyncio.Server | None = None
        self._runner: web.ServerRunner | None = None
        self._paced = -math.inf  # when the request that came last would have been answered, had all come evenly
        self._connections: dict[Any, tuple[asyncio.Transport, asyncio.TimerHandle]] = {}  # the longest silent first
        self._rendered: dict[bool, tuple[float, bytes]] = {}

    async def start(self) -> None:
        """Begin to listen. Raises ServiceError when that is not possible."""
        handlers: dict[str, Callable[[web.BaseRequest], Awaitable[web.Response]]] = {
            "/metrics": self._metrics,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/status": self._status,
            "/checkpoint": self._checkpoint,
            "/": self._page,
        }

        async def handle(request: web.BaseRequest) -> web.Response:
            self._keep(request.protocol)
            await self._pace()
            handler = handlers.get(request.path)
            if handler is None:
                return web.Response(status=404, text=f"there is {', '.join(handlers)}\n")
            methods = ("POST",) if handler == self._checkpoint else ("GET", "HEAD")
            if request.method not in methods:
                headers = {"Allow": ", ".join(methods)}
                return web.Response(status=405, text=f"{request.path} takes {methods[0]}\n", headers=headers)
            return await handler(request)

        server = web.Server(handle)
        self._runner = web.ServerRunner(server, shutdown_timeout=_LAST_ANSWERS_SECONDS)
        await self._runner.setup()
        host, _, port = self._listen.rpartition(":")
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Connection(server, self), host.strip("[]"), int(port))
        except (OSError, UnicodeError) as error:  # the latter for what is no host name
            reason = getattr(error, "strerror", None) or str(error)
            raise ServiceError(
                f'cannot listen on {self._listen}: {reason}; choose another [http] listen, or "" for none'
            ) from error

    @property
    def port(self) -> int:
        """Where it listens, also when any port was asked for."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Stop listening, and end all connections."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        for connection in list(self._connections):
            self._end(connection)

    def begun(self, connection: Any, transport: Any) -> None:
        """There is a new connection; where there are too many, the one that was silent for longest ends."""
        if len(self._connections) >= _MOST_CONNECTIONS:
            self._end(next(iter(self._connections)))
        self._connections[connection] = transport, self._timer(connection)

    def ended(self, connection: Any) -> None:
        """Nothing of it is left."""
        if connection in self._connections:
            self._connections.pop(connection)[1].cancel()

    def _keep(self, connection: Any) -> None:
        """Let a connection live for as long as that takes at most; it goes on living only if a whole request comes meanwhile."""
        if connection in self._connections:
            transport, timer = self._connections.pop(connection)
            timer.cancel()
            self._connections[connection] = transport, self._timer(connection)

    def _timer(self, connection: Any) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(_LONGEST_CONNECTION_SECONDS, self._end, connection)

    def _end(self, connection: Any) -> None:
        transport, timer = self._connections.pop(connection)
        timer.cancel()
        transport.abort()  # not `close`, which waits for a client that does not read

    async def _pace(self) -> None:
        """Answer a few requests at once and the rest one after the other: who asks too often waits, and nobody else does."""
        now = time.monotonic()
        self._paced = max(self._paced, now - _MOST_AT_ONCE / _MOST_PER_SECOND) + 1 / _MOST_PER_SECOND
        if self._paced > now:
            await asyncio.sleep(self._paced - now)

    async def _metrics(self, request: web.BaseRequest) -> web.Response:
        openmetrics = "application/openmetrics-text" in request.headers.get("Accept", "")
        made, body = self._rendered.get(openmetrics, (-math.inf, b""))
        if time.monotonic() - made >= _FRESH_SECONDS:
            body = self._view.render_metrics(openmetrics=openmetrics)
            self._rendered[openmetrics] = time.monotonic(), body
        return web.Response(
            body=body, headers={"Content-Type": _OPENMETRICS if openmetrics else exposition.CONTENT_TYPE_PLAIN_0_0_4}
        )

    async def _healthz(self, _request: web.BaseRequest) -> web.Response:
        ailing = self._view.ailing()
        if ailing:
            return web.Response(status=503, text=f"no answer from: {', '.join(ailing)}\n")
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.BaseRequest) -> web.Response:
        status = self._view.status()
        if status["ready"]:
            return web.Response(text="ready\n")
        unready = [symbol["id"] for symbol in status["symbols"] if symbol["state"] in ("starting", "restarting")]
        return web.Response(status=503, text=f"not ready: {', '.join(unready) or 'starting'}\n")

    async def _status(self, _request: web.BaseRequest) -> web.Response:
        return web.json_response(self._view.status(), dumps=_dump)

    async def _checkpoint(self, request: web.BaseRequest) -> web.Response:
        if not self._may_ask(request):
            return web.Response(
                status=403, text="only from this machine, or with the token: Authorization: Bearer <[http] token>\n"
            )
        waits = request.query.get("wait", "yes") != "no"
        try:
            async with asyncio.timeout(_LONGEST_CHECKPOINT_SECONDS):
                checkpoints = await self._view.checkpoint(request.query.get("symbol"), waits=waits)
        except KeyError as error:
            return web.json_response({"error": f"no symbol {error.args[0]}"}, status=404, dumps=_dump)
        except TimeoutError:
            text = f"not done after {_LONGEST_CHECKPOINT_SECONDS:.0f} s: it goes on, see /status"
            return web.json_response({"error": text}, status=504, dumps=_dump)
        failed = any(checkpoint["error"] is not None for checkpoint in checkpoints)
        code = 503 if failed else 200 if waits else 202
        return web.json_response({"checkpoints": checkpoints}, status=code, dumps=_dump)

    def _may_ask(self, request: web.BaseRequest) -> bool:
        """Whether a client may have work done: one on this machine that is no web page, or one that knows the token."""
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if self._token and hmac.compare_digest(given, f"Bearer {self._token}".encode()):
            return True
        # A page that a browser on this machine shows says where it comes from.
        if "Origin" in request.headers or request.remote is None:
            return False
        return ipaddress.ip_address(request.remote.partition("%")[0]).is_loopback

    async def _page(self, _request: web.BaseRequest) -> web.Response:
        return web.Response(text=_render_page(self._view.status()), content_type="text/html")


_COLUMNS = ("id", "state", "events", "synced", "gaps", "dead_letters", "lag_bytes", "event_time", "epoch", "checkpoint_time")


def _render_page(status: dict[str, Any]) -> str:
    """A page that a person can read, without scripts."""
    rows = []
    for symbol in status["symbols"]:
        cells = "".join(f"<td>{html.escape(_text(symbol.get(column)))}</td>" for column in _COLUMNS)
        why = symbol["waiting_for"] or symbol["error"] or symbol["checkpoint_error"]
        more = f'<tr><td></td><td colspan="{len(_COLUMNS) - 1}"><i>{html.escape(why)}</i></td></tr>' if why else ""
        rows.append(f"<tr>{cells}</tr>{more}")
    head = "".join(f"<th>{column.replace('_', ' ')}</th>" for column in _COLUMNS)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=10><title>cowbook</title>"
        "<style>body{font:15px/1.5 system-ui,sans-serif;margin:2em}table{border-collapse:collapse}"
        "th,td{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}"
        "th:first-child,td:first-child{text-align:left}</style>"
        f"<h1>cowbook {html.escape(status['version'])}</h1>"
        f"<p>{'ready' if status['ready'] else 'not ready'}, running since {html.escape(status['started'])}. "
        '<a href="/status">status</a> <a href="/metrics">metrics</a></p>'
        f"<table><tr>{head}</tr>{''.join(rows)}</table></html>"
    )


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _dump(value: object) -> str:
    return json.dumps(value, indent=1)
