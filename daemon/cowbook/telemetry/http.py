"""The HTTP endpoint: /metrics, /healthz, /readyz, /status, /book/<id>, POST /checkpoint, and / for people, with its /events.

A driver of several shards has /sd, too, by which Prometheus finds them.

The cost of clients is bounded. A connection serves one request. The number of connections accepted per second is limited; others
wait in the kernel's queue. Connections are limited in number and age, and requests in size. A response that takes long to make
is served again for ten times as long as making it took.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import math
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import unquote

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import exposition

from cowbook.errors import ServiceError, StorageError
from cowbook.log import get_logger
from cowbook.plain.escaping import escaped
from cowbook.symbol.live_book import ARROW, FORMS, JSON
from cowbook.telemetry.history import History
from cowbook.telemetry.page import POLICY, now_utc, render_main, render_page

_MOST_CONNECTIONS = 64
_MOST_WAITING = 32  # of these, waiting for checkpoints
_LONGEST_CONNECTION_SECONDS = 60.0
_LONGEST_CHECKPOINT_SECONDS = 50.0
_MOST_PER_SECOND = 100
_MOST_AT_ONCE = 20
_BACKLOG = 128
_LAST_ANSWERS_SECONDS = 1.0  # for clients that are still reading when the endpoint closes
_FRESH_SECONDS = 1.0
_NEWS_SECONDS = 2.0
_RETRY_MS = 1000
_KEPT_FACTOR = 10
_LARGEST_REQUEST_BYTES = 16_384  # no body is ever read
_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_PARAMETERS = {"/checkpoint": ("symbol", "wait"), "/book/": ("levels", "format")}
_BOOK = "/book/"
_UNREADY = ("starting", "restarting", "lost", "moving")
_BOOK_LEVELS = 20
_LONGEST_BOOK_SECONDS = 10.0
_ARROW = "application/vnd.apache.arrow.stream"

T = TypeVar("T")


class View(Protocol):
    """The data that the endpoint shows. Its methods are called on the endpoint's event loop and must not block."""

    def render_metrics(self, *, openmetrics: bool) -> bytes:
        """Returns the metrics as OpenMetrics 1.0.0, or in the Prometheus text format 0.0.4."""

    def status(self) -> dict[str, Any]:
        """Returns the JSON object of /status."""

    def ailing(self) -> list[str]:
        """Returns the ids of the symbols whose event loop does not answer."""

    async def read_book(self, symbol_id: str, levels: int | None, form: str) -> bytes:
        """Returns the live book of a symbol as JSON or as an Arrow stream: `form` is one of `live_book.FORMS`.

        `levels` is how many of each side, None for all. Raises KeyError for an unknown symbol, StorageError where it has no book.
        """

    async def checkpoint(self, symbol_id: str | None, *, waits: bool) -> list[dict[str, Any]]:
        """Take a checkpoint of one symbol, or of all if `symbol_id` is None. Returns id, epoch and error for each.

        Without `waits`, the epoch is that of the newest checkpoint so far. Raises KeyError for an unknown symbol.
        """


class _ErrorLog:
    """The logger of aiohttp. Errors of clients are logged as debug messages, all others as errors of this program."""

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
    """A connection that tells its owner when it begins and when it has really ended."""

    def __init__(self, server: web.Server, owner: HttpServer) -> None:
        log: Any = _ErrorLog()
        loop = asyncio.get_running_loop()
        super().__init__(server, loop=loop, logger=log, read_bufsize=_LARGEST_REQUEST_BYTES)
        self._owner = owner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._owner.begun(self, transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._owner.ended(self)
        super().connection_lost(exc)


class _Kept(Generic[T]):
    """A value that is made anew only when it is old, so that making it takes at most about a tenth of the time."""

    def __init__(self, make: Callable[[], T], fresh_seconds: float = 0.0) -> None:
        self._make = make
        self._fresh_seconds = fresh_seconds
        self._until = -math.inf
        self._value: T | None = None

    def get(self) -> T:
        """Returns the kept value, or a new one if that is too old."""
        started = time.monotonic()
        if self._value is None or started >= self._until:
            self._value = self._make()
            now = time.monotonic()
            self._until = now + max(self._fresh_seconds, _KEPT_FACTOR * (now - started))
        return self._value


class HttpServer:
    """The HTTP server. It listens from `start` to `close`."""

    def __init__(self, view: View, listen: str, token: str, discover: Callable[[], list[dict[str, Any]]] | None = None) -> None:
        """`listen` is host:port. A client needs `token` to request checkpoints; with "" only those on this machine can.

        `discover` returns what /sd tells Prometheus (http_sd); None: there is no /sd.
        """
        self._view = view
        self._discover = discover
        self._listen = listen
        host, _, port = listen.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._token = token
        self._listeners: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._runner: web.ServerRunner | None = None
        self._paced = -math.inf  # when the last connection would have been accepted at an even pace
        self._connections: dict[Any, tuple[asyncio.Transport, asyncio.TimerHandle]] = {}  # oldest first
        self._waiting: set[Any] = set()  # connections whose clients wait for checkpoints
        self._metrics_kept = {
            openmetrics: _Kept(lambda openmetrics=openmetrics: view.render_metrics(openmetrics=openmetrics), _FRESH_SECONDS)  # type: ignore[misc]
            for openmetrics in (False, True)
        }
        self._status_kept = _Kept(view.status)
        self._status_text = _Kept(lambda: _dump(view.status()))
        self._history = History()
        self._page_text = _Kept(lambda: render_page(self._looked_at(), self._history, now_utc()))
        self._main_text = _Kept(lambda: render_main(self._looked_at(), self._history, now_utc()), _FRESH_SECONDS)
        self._is_closing = asyncio.Event()

    async def start(self) -> None:
        """Begin to listen. Raises ServiceError if it cannot listen on the address."""
        server = web.Server(self._handle)
        self._runner = web.ServerRunner(server, shutdown_timeout=_LAST_ANSWERS_SECONDS)
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
                listener = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
                listener.setblocking(False)
                self._listeners.append(listener)
        except (OSError, UnicodeError) as error:  # UnicodeError: not a host name
            reason = getattr(error, "strerror", None) or str(error)
            raise ServiceError(
                f'cannot listen on {self._listen}: {reason}; choose another [http] listen, or "" for none'
            ) from error
        self._accepting = [asyncio.create_task(self._accept(listener, server)) for listener in self._listeners]

    @property
    def port(self) -> int:
        """The port on which it listens, also if the configured port is 0."""
        port: int = self._listeners[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Stop listening and end all connections."""
        self._is_closing.set()
        for task in self._accepting:
            task.cancel()
        if self._accepting:
            await asyncio.wait(self._accepting)
        self._accepting.clear()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        for connection in list(self._connections):
            self._end(connection)

    async def _accept(self, listener: socket.socket, server: web.Server) -> None:
        """Accept connections in the order of their arrival: a few at once, further ones at an even pace."""
        loop = asyncio.get_running_loop()
        while True:
            now = time.monotonic()
            self._paced = max(self._paced, now - _MOST_AT_ONCE / _MOST_PER_SECOND) + 1 / _MOST_PER_SECOND
            if self._paced > now:
                await asyncio.sleep(self._paced - now)
            try:
                client, _ = await loop.sock_accept(listener)
                await loop.connect_accepted_socket(lambda: _Connection(server, self), client)
            except OSError as error:  # the client has gone, or descriptors ran out: the next one may succeed
                get_logger().debug("http", note=f"a connection could not be accepted: {error.strerror or error}")

    def begun(self, connection: Any, transport: Any) -> None:
        """Register a new connection. If there are too many, end the oldest one that does not wait for a checkpoint."""
        if len(self._connections) >= _MOST_CONNECTIONS:
            self._end(next(old for old in self._connections if old not in self._waiting))
        timer = asyncio.get_running_loop().call_later(_LONGEST_CONNECTION_SECONDS, self._end, connection)
        self._connections[connection] = transport, timer

    def ended(self, connection: Any) -> None:
        """Forget a connection that has ended."""
        if connection in self._connections:
            self._connections.pop(connection)[1].cancel()

    def _end(self, connection: Any) -> None:
        transport, timer = self._connections.pop(connection)
        timer.cancel()
        transport.abort()  # `close` would wait for a client that does not read

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        response = await self._answer(request)
        response.force_close()
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        handlers: dict[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]] = {
            "/metrics": self._metrics,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/status": self._status,
            "/checkpoint": self._checkpoint,
            "/events": self._events,
            "/": self._page,
        }
        if self._discover is not None:
            handlers["/sd"] = self._sd
        if not self._is_meant(request):
            return web.Response(status=421, text=f"this is cowbook on {self._listen}: {self._how_to_ask()}\n")
        handler = handlers.get(request.path)
        route = request.path
        if request.path.startswith(_BOOK):
            handler, route = self._book, _BOOK
        if handler is None:
            return web.Response(status=404, text=f"there is {', '.join(handlers)}, {_BOOK}<id>\n")
        methods = ("POST",) if handler == self._checkpoint else ("GET", "HEAD")
        if request.method not in methods:
            headers = {"Allow": ", ".join(methods)}
            return web.Response(status=405, text=f"{escaped(request.path)} takes {methods[0]}\n", headers=headers)
        known = _PARAMETERS.get(route, ())
        for name in request.query:
            if name not in known:
                text = f"{route} has no parameter {escaped(name)}; it has {', '.join(known) or 'none'}\n"
                return web.Response(status=400, text=text)
        return await handler(request)

    def _is_meant(self, request: web.BaseRequest) -> bool:
        """Returns whether a request names this machine in its Host header, or has the token.

        A page of a foreign site whose name now resolves to this machine (DNS rebinding) names that site instead. Names of this
        machine are that of `listen`, its host name and loopback's. If it listens beyond loopback, any address is one, too: it
        may have addresses that it does not know of, and no site's name is an address.
        """
        name = request.headers.get("Host", "").lower()
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        if name in ("", self._host.lower()) or _is_loopback(name) or self._has_token(request):
            return True
        return not _is_loopback(self._host) and (_is_address(name) or name == socket.gethostname().lower())

    def _how_to_ask(self) -> str:
        if _is_loopback(self._host):
            return "ask for it by that address, or as localhost"
        name = socket.gethostname()
        return f"ask for it by its address or as {name}, put another name of it into [http] listen, or send the token"

    async def _metrics(self, request: web.BaseRequest) -> web.Response:
        openmetrics = "application/openmetrics-text" in request.headers.get("Accept", "")
        body = self._metrics_kept[openmetrics].get()
        return web.Response(
            body=body, headers={"Content-Type": _OPENMETRICS if openmetrics else exposition.CONTENT_TYPE_PLAIN_0_0_4}
        )

    async def _healthz(self, _request: web.BaseRequest) -> web.Response:
        ailing = self._view.ailing()
        if ailing:
            return web.Response(status=503, text=f"no answer from: {escaped(', '.join(ailing))}\n")
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.BaseRequest) -> web.Response:
        status = self._status_kept.get()
        if status["ready"]:
            return web.Response(text="ready\n")
        unready = [symbol["id"] for symbol in status["symbols"] if symbol["state"] in _UNREADY]
        return web.Response(status=503, text=f"not ready: {escaped(', '.join(unready)) or 'starting'}\n")

    async def _sd(self, _request: web.BaseRequest) -> web.Response:
        assert self._discover is not None
        return web.json_response(self._discover(), dumps=_dump)

    async def _status(self, _request: web.BaseRequest) -> web.Response:
        return web.json_response(text=self._status_text.get())

    async def _book(self, request: web.BaseRequest) -> web.Response:
        """The live book: JSON, or Arrow where the client asks for it. It costs the symbol a freeze."""
        symbol_id = unquote(request.rel_url.raw_path.removeprefix(_BOOK))
        levels = request.query.get("levels", str(_BOOK_LEVELS))
        if levels != "all" and not (levels.isascii() and levels.isdecimal() and int(levels)):
            return web.Response(status=400, text='levels is a positive number, or "all"\n')
        form = request.query.get("format", ARROW if _ARROW in request.headers.get("Accept", "") else JSON)
        if form not in FORMS:
            return web.Response(status=400, text=f"format is {' or '.join(FORMS)}\n")
        try:
            async with asyncio.timeout(_LONGEST_BOOK_SECONDS):
                body = await self._view.read_book(symbol_id, None if levels == "all" else int(levels), form)
        except KeyError:
            return web.json_response({"error": f"no symbol {symbol_id}"}, status=404, dumps=_dump)
        except StorageError as error:
            return web.json_response({"error": str(error)}, status=503, dumps=_dump)
        except TimeoutError:
            text = f"no answer of the symbol within {_LONGEST_BOOK_SECONDS:.0f} s: it is busy, see /status"
            return web.json_response({"error": text}, status=504, dumps=_dump)
        return web.Response(body=body, content_type=_ARROW if form == ARROW else "application/json")

    async def _checkpoint(self, request: web.BaseRequest) -> web.Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return web.Response(status=403, text=f"{refusal}\n")
        wait = request.query.get("wait", "yes")
        if wait not in ("yes", "no"):
            return web.Response(status=400, text="wait is yes or no\n")
        if len(self._waiting) >= _MOST_WAITING:
            text = f"{_MOST_WAITING} clients wait for checkpoints already\n"
            return web.Response(status=429, text=text, headers={"Retry-After": "1"})
        self._waiting.add(request.protocol)
        try:
            async with asyncio.timeout(_LONGEST_CHECKPOINT_SECONDS):
                checkpoints = await self._view.checkpoint(request.query.get("symbol"), waits=wait == "yes")
        except KeyError as error:
            return web.json_response({"error": f"no symbol {error.args[0]}"}, status=404, dumps=_dump)
        except TimeoutError:
            text = f"not done after {_LONGEST_CHECKPOINT_SECONDS:.0f} s: it goes on, see /status"
            return web.json_response({"error": text}, status=504, dumps=_dump)
        finally:
            self._waiting.discard(request.protocol)
        failed = any(checkpoint["error"] is not None for checkpoint in checkpoints)
        code = 503 if failed else 200 if wait == "yes" else 202
        return web.json_response({"checkpoints": checkpoints}, status=code, dumps=_dump)

    def _refusal(self, request: web.BaseRequest) -> str | None:
        """Returns the reason to refuse work to a client, None if there is none.

        If a token is set, every client needs it: behind a proxy all of them come from this machine. Otherwise clients on other
        machines and web pages are refused.
        """
        if self._has_token(request):
            return None
        how = "Authorization: Bearer <[http] token>"
        if self._token:
            return f"only with the token: {how}"
        if "Origin" in request.headers:  # a browser sends it with requests of a web page
            return f"not from a web page (Origin: {escaped(request.headers['Origin'])}), or with the token: {how}"
        if request.remote is None or not _is_loopback(request.remote.partition("%")[0]):
            return f"only from this machine, or with the token: {how}"
        return None

    def _has_token(self, request: web.BaseRequest) -> bool:
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        return bool(self._token) and hmac.compare_digest(given, f"Bearer {self._token}".encode())

    def _looked_at(self) -> dict[str, Any]:
        """The status, of which the page's history takes note."""
        status = self._view.status()
        self._history.add(status, time.monotonic())
        return status

    async def _page(self, _request: web.BaseRequest) -> web.Response:
        headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
        return web.Response(text=self._page_text.get(), content_type="text/html", headers=headers)

    async def _events(self, request: web.BaseRequest) -> web.StreamResponse:
        """The page's news as server-sent events, until the connection has its age: then the browser asks again."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        response.force_close()
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        await response.write(f"retry: {_RETRY_MS}\n\n".encode())
        with suppress(ConnectionError):  # the client has gone
            while not self._is_closing.is_set():
                lines = "".join(f"data: {line}\n" for line in self._main_text.get().splitlines())
                await response.write(f"{lines}\n".encode())
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._is_closing.wait(), _NEWS_SECONDS)
        return response


def _is_loopback(host: str) -> bool:
    """Returns whether a host name or address, without a port, is a loopback one."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _dump(value: object) -> str:
    return json.dumps(value, indent=1)
