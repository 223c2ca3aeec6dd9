"""The HTTP endpoint: what it answers, to whom, and what clients that mean ill can do to it."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.openmetrics import parser
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from cowbook.errors import ServiceError, StorageError
from cowbook.telemetry import http as module
from cowbook.telemetry.http import HttpServer

ROUTES = ("/metrics", "/healthz", "/readyz", "/status", "/checkpoint", "/")


def symbol(symbol_id: str, state: str = "running", **more: object) -> dict[str, Any]:
    """As of /status."""
    return {
        "id": symbol_id,
        "state": state,
        "error": None,
        "waiting_for": None,
        "checkpoint_error": None,
        "events": 1234567,
        "synced": True,
    } | more


class FakeView:
    """What a service would show."""

    def __init__(self) -> None:
        self.symbols = [symbol("A"), symbol("B")]
        self.is_ready = True
        self.sick: list[str] = []
        self.renderings = 0
        self.asked: list[tuple[str | None, bool]] = []
        self.error: str | None = None
        self.gate: asyncio.Event | None = None
        self.mistake: Exception | None = None
        self.filling = b""

    def render_metrics(self, *, openmetrics: bool) -> bytes:
        """A gauge that counts the renderings."""
        self.renderings += 1
        registry = CollectorRegistry()
        Gauge("renderings", "How many", registry=registry).set(self.renderings)
        text: bytes = (generate_openmetrics if openmetrics else generate_latest)(registry)
        return text + self.filling

    def status(self) -> dict[str, Any]:
        """As Service.status."""
        if self.mistake is not None:
            raise self.mistake
        return {"version": "9.9", "started": "2026-01-01", "ready": self.is_ready, "symbols": self.symbols}

    def ailing(self) -> list[str]:
        """As Service.ailing."""
        return self.sick

    async def read_book(self, symbol_id: str, levels: int | None, form: str) -> bytes:
        """As Service.read_book."""
        if symbol_id != "X/Y é":
            raise KeyError(symbol_id)
        if self.error is not None:
            raise StorageError(self.error)
        if self.gate is not None:
            await self.gate.wait()
        return f"{levels} {form}".encode()

    async def checkpoint(self, symbol_id: str | None, *, waits: bool) -> list[dict[str, Any]]:
        """As Service.checkpoint."""
        self.asked.append((symbol_id, waits))
        if symbol_id not in (None, "A", "B"):
            raise KeyError(symbol_id)
        if self.gate is not None:
            await self.gate.wait()
        ids = ["A", "B"] if symbol_id is None else [symbol_id]
        return [{"id": one, "epoch": None if self.error else 7, "error": self.error} for one in ids]


class Answer:
    """What came back."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.code = int(lines[0].split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}

    @property
    def text(self) -> str:
        """The body."""
        return self.body.decode()


@asynccontextmanager
async def serving(view: FakeView, listen: str = "127.0.0.1:0", token: str = "") -> AsyncIterator[HttpServer]:
    """A server for a while."""
    server = HttpServer(view, listen, token)
    await server.start()
    try:
        yield server
    finally:
        await server.close()


async def talk(port: int, content: bytes, host: str = "127.0.0.1", seconds: float = 60.0) -> bytes:
    """Send something, and read to the end of the connection."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(content)
        async with asyncio.timeout(seconds):
            return await reader.read()
    finally:
        writer.transport.abort()


async def ask(port: int, path: str, method: str = "GET", host: str = "127.0.0.1", **headers: str) -> Answer:
    """One request."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        *(f"{name}: {headers[name]}" for name in headers),
    ]
    return Answer(await talk(port, ("\r\n".join(lines) + "\r\n\r\n").encode(errors="surrogateescape"), host))


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - not everything tells when it changes
            await asyncio.sleep(0.01)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is, for whatever the server keeps for a while."""
    now = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


async def test_each_path_takes_its_method_and_no_other() -> None:
    """Each path answers its method. Anything else is 404 or 405, with a text that lists the alternatives."""
    view = FakeView()
    async with serving(view) as server:
        for path in ROUTES:
            method = "POST" if path == "/checkpoint" else "GET"
            for other in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
                answer = await ask(server.port, path, other)
                if other == method or (other, method) == ("HEAD", "GET"):
                    assert answer.code == 200, (path, other)
                    assert bool(answer.body) == (other != "HEAD")
                else:
                    assert answer.code == 405, (path, other)
                    assert method in answer.headers["allow"].split(", ")
        assert view.asked == [(None, True)]  # by the POST, and by nothing else
        for path in ("/nothing", "/metrics/", "//metrics", "/%6", "/status%00", "/../status"):
            answer = await ask(server.port, path)
            assert answer.code == 404, path
            assert all(route in answer.text for route in ROUTES)


async def test_targets_of_others_are_found_where_there_are_some() -> None:
    """/sd is there for a driver of several shards only, as JSON, and made anew each time."""
    targets = [{"targets": ["10.0.0.1:9000"], "labels": {"shard": "0/2"}}]
    server = HttpServer(FakeView(), "127.0.0.1:0", "", lambda: targets)
    await server.start()
    try:
        answer = await ask(server.port, "/sd")
        assert (answer.code, json.loads(answer.body)) == (200, targets)
        assert answer.headers["content-type"].startswith("application/json")
        targets.clear()
        assert json.loads((await ask(server.port, "/sd")).body) == []
        assert (await ask(server.port, "/sd", "POST")).code == 405
    finally:
        await server.close()
    async with serving(FakeView()) as plain:
        assert (await ask(plain.port, "/sd")).code == 404


async def test_each_path_answers_what_the_view_says() -> None:
    """Each path shows the view's data."""
    view = FakeView()
    async with serving(view) as server:
        assert (await ask(server.port, "/healthz")).text == "ok\n"
        view.sick = ["B"]
        answer = await ask(server.port, "/healthz")
        assert (answer.code, answer.text) == (503, "no answer from: B\n")
        assert (await ask(server.port, "/readyz")).text == "ready\n"
        view.is_ready, view.symbols = False, [symbol("A"), symbol("B", "starting"), symbol("C", "restarting")]
        answer = await ask(server.port, "/readyz")
        assert (answer.code, answer.text) == (503, "not ready: B, C\n")
        answer = await ask(server.port, "/status")
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
        assert json.loads(answer.body) == view.status()


async def test_the_page_escapes_what_comes_from_outside() -> None:
    """The page shows names and errors as text, not as HTML."""
    view = FakeView()
    view.symbols = [symbol("<b>&", "failed", error="<script>alert(1)"), symbol("C", "waiting", waiting_for="a file & more")]
    async with serving(view) as server:
        answer = await ask(server.port, "/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    for text in ("&lt;b&gt;&amp;", "&lt;script&gt;alert(1)", "a file &amp; more", "1,234,567", "cowbook 9.9"):
        assert text in answer.text
    assert "<script>alert" not in answer.text


def digests(policy: str, of: str) -> set[str]:
    """The digests that a Content-Security-Policy has for styles or scripts."""
    (rule,) = [rule.split() for rule in policy.split(";") if rule.split()[0] == of]
    assert all(word.startswith("'sha256-") for word in rule[1:])
    return {word.strip("'").removeprefix("sha256-") for word in rule[1:]}


async def test_a_browser_may_run_the_pages_own_script_and_nothing_else() -> None:
    """The policy names the very style and script; nothing is in attributes, and nothing is loaded from elsewhere."""
    async with serving(FakeView()) as server:
        answer = await ask(server.port, "/")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        contents = re.findall(f"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)
        assert {b64encode(sha256(content.encode()).digest()).decode() for content in contents} == digests(policy, rule)
    markup = re.sub(r"<(style|script)>.*?</\1>", "", answer.text, flags=re.DOTALL)
    assert not re.search(r"\s(style|on\w+|src)=", markup)
    assert all(not link.startswith(("http", "//")) for link in re.findall(r'href="([^"]*)"', markup))
    assert '<meta name="viewport"' in markup


async def test_news_of_the_page_come_until_the_endpoint_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is what the page shows; a page that is left open does not hold up the end."""
    monkeypatch.setattr(module, "_NEWS_SECONDS", 0.01)
    monkeypatch.setattr(module, "_FRESH_SECONDS", 0.0)
    view = FakeView()
    async with serving(view) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(30):
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"text/event-stream" in head
            await reader.readuntil(b"retry: 1000")
            await reader.readuntil(b"data: <h1>cowbook 9.9")
            view.symbols[1] = symbol("B", "failed", error="all is lost")
            await reader.readuntil(b"failed: B: all is lost")
        closing = asyncio.create_task(server.close())
        async with asyncio.timeout(30):
            rest = await reader.read()
        assert rest.endswith(b"0\r\n\r\n")  # the last chunk: it was not cut off
        await closing
        writer.close()


def handlers() -> list[Any]:
    """The tasks that serve connections."""
    coroutines: list[Any] = [task.get_coro() for task in asyncio.all_tasks()]
    return [each for each in coroutines if each.__qualname__ == "RequestHandler.start"]


async def test_a_client_that_leaves_ends_its_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes on rendering for it."""
    monkeypatch.setattr(module, "_NEWS_SECONDS", 0.01)
    async with serving(FakeView()) as server:
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b"data: <h1>")
            assert handlers()
            writer.transport.abort()
        async with asyncio.timeout(30):
            while handlers():  # noqa: ASYNC110 - aiohttp tells nobody
                await asyncio.sleep(0.01)


async def test_openmetrics_is_served_on_request_only() -> None:
    """A client that accepts OpenMetrics gets it, any other the text format."""
    async with serving(FakeView()) as server:
        plain = await ask(server.port, "/metrics")
        assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert "# EOF" not in plain.text
        accept = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5"
        answer = await ask(server.port, "/metrics", Accept=accept)
        assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        assert answer.text.endswith("# EOF\n")
        families = parser.text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]
        assert [family.name for family in families] == ["renderings"]


async def test_metrics_are_rendered_at_most_once_a_second(clock: list[float]) -> None:
    """Frequent requests get the same rendering for a second, and then a new one."""
    view = FakeView()
    async with serving(view) as server:
        for number in range(3):
            for _ in range(5):
                await ask(server.port, "/metrics")
                assert view.renderings == number + 1
            clock[0] += 0.99
            await ask(server.port, "/metrics")
            assert view.renderings == number + 1
            clock[0] += 0.02


async def test_checkpoints_are_taken_of_all_symbols_or_one() -> None:
    """Checkpoints can be requested for all symbols or one, with and without waiting. Failures and unknown symbols are errors."""
    view = FakeView()
    async with serving(view) as server:
        answer = await ask(server.port, "/checkpoint", "POST")
        assert answer.code == 200
        assert json.loads(answer.body) == {"checkpoints": [{"id": one, "epoch": 7, "error": None} for one in "AB"]}
        answer = await ask(server.port, "/checkpoint?symbol=B", "POST")
        assert json.loads(answer.body) == {"checkpoints": [{"id": "B", "epoch": 7, "error": None}]}
        assert (await ask(server.port, "/checkpoint?wait=no", "POST")).code == 202
        assert view.asked == [(None, True), ("B", True), (None, False)]
        answer = await ask(server.port, "/checkpoint?symbol=C", "POST")
        assert (answer.code, json.loads(answer.body)) == (404, {"error": "no symbol C"})
        view.error = "disk full"
        answer = await ask(server.port, "/checkpoint", "POST")
        assert answer.code == 503
        assert json.loads(answer.body)["checkpoints"][0] == {"id": "A", "epoch": None, "error": "disk full"}


async def test_a_long_checkpoint_is_answered_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is told that the checkpoint goes on, before it gives up."""
    monkeypatch.setattr(module, "_LONGEST_CHECKPOINT_SECONDS", 0.1)
    view = FakeView()
    view.gate = asyncio.Event()
    async with serving(view) as server:
        answer = await ask(server.port, "/checkpoint", "POST")
    assert answer.code == 504
    assert "see /status" in json.loads(answer.body)["error"]


@pytest.mark.parametrize(
    ("remote", "token", "headers", "allowed"),
    [
        ("127.0.0.1", "", {}, True),
        ("127.8.8.8", "", {}, True),
        ("::1", "", {}, True),
        ("10.1.2.3", "", {}, False),
        ("fe80::1%eth0", "", {}, False),
        ("10.1.2.3", "", {"Authorization": "Bearer "}, False),
        ("10.1.2.3", "", {"Authorization": "Bearer"}, False),
        ("10.1.2.3", "secret", {}, False),
        ("10.1.2.3", "secret", {"Authorization": "Bearer secret"}, True),
        ("10.1.2.3", "secret", {"Authorization": "Bearer secret2"}, False),
        ("10.1.2.3", "secret", {"Authorization": "secret"}, False),
        ("127.0.0.1", "", {"Origin": "http://127.0.0.1:9464"}, False),
        ("127.0.0.1", "", {"Origin": "null"}, False),
        ("127.0.0.1", "secret", {"Origin": "http://evil"}, False),
        ("127.0.0.1", "secret", {"Origin": "http://evil", "Authorization": "Bearer secret"}, True),
        ("127.0.0.1", "secret", {}, False),
        ("127.0.0.1", "secret", {"Authorization": "Bearer secret"}, True),
        ("127.0.0.1", "secret", {"Authorization": "Bearer \udcff"}, False),
        ("10.1.2.3", "secret", {"Authorization": "Bearer \udcff"}, False),
        ("10.1.2.3", "", {"Authorization": "Bearer \udcff"}, False),
    ],
)
async def test_only_local_clients_and_those_with_the_token_may_ask(
    monkeypatch: pytest.MonkeyPatch, remote: str, token: str, headers: dict[str, str], allowed: bool
) -> None:
    """A client may ask if it has the token. If none is set, it must be on this machine and no web page.

    Behind a proxy every client is on this machine.
    """
    monkeypatch.setattr("aiohttp.web.BaseRequest.remote", remote)
    view = FakeView()
    async with serving(view, token=token) as server:
        answer = await ask(server.port, "/checkpoint", "POST", **headers)
    assert answer.code == (200 if allowed else 403)
    assert bool(view.asked) == allowed


@pytest.mark.parametrize(
    "content",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 4,
        b"\0" * 5000,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nA" + b"a" * 100_000 + b": b\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\xff\xfe HTTP/1.1\r\n\r\n",
    ],
)
async def test_garbage_is_refused_without_a_log_line(content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes that are no request are refused without a log line, and the next client is served."""
    async with serving(FakeView()) as server:
        answer = await talk(server.port, content)
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400", b"HTTP/9.9 400")) or not answer
        assert (await ask(server.port, "/healthz")).code == 200
    assert not server._connections
    assert "Traceback" not in "".join(capsys.readouterr())


async def test_a_programming_error_is_500_and_logged() -> None:
    """An error of this program is 500 for the client, and a line in the log."""
    view = FakeView()
    view.mistake = ZeroDivisionError("a mistake")
    async with serving(view) as server:
        with structlog.testing.capture_logs() as logs:
            assert (await ask(server.port, "/status")).code == 500
        assert [(log["log_level"], log["exc_info"]) for log in logs] == [("error", view.mistake)]


async def test_a_connection_serves_one_request() -> None:
    """Old clients, patient ones and those that send many requests at once get one answer. Then the connection ends."""
    async with serving(FakeView()) as server:
        assert Answer(await talk(server.port, b"GET /healthz HTTP/1.0\r\n\r\n")).text == "ok\n"
        one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for count in (1, 50):
            answer = await talk(server.port, one * count)
            assert answer.count(b"HTTP/1.1 200") == 1
            assert Answer(answer).headers["connection"] == "close"


@pytest.mark.parametrize(
    ("listen", "host", "code"),
    [
        ("127.0.0.1:0", "127.0.0.1:9464", 200),
        ("127.0.0.1:0", "LocalHost", 200),
        ("127.0.0.1:0", "[::1]:9464", 200),
        ("127.0.0.1:0", "", 200),
        ("127.0.0.1:0", "evil.example:9464", 421),
        ("127.0.0.1:0", "127.0.0.1.evil.example", 421),
        ("127.0.0.1:0", "192.0.2.1", 421),
        ("127.0.0.1:0", "[2001:db8::1]", 421),
        ("0.0.0.0:0", "evil.example", 421),
        ("0.0.0.0:0", "127.0.0.1.evil.example:9464", 421),
        ("0.0.0.0:0", "[evil]", 421),
        ("0.0.0.0:0", f"{socket.gethostname()}.evil.example", 421),
        ("0.0.0.0:0", f"{socket.gethostname().upper()}:9464", 200),
        ("0.0.0.0:0", "192.0.2.1:9464", 200),
        ("0.0.0.0:0", "[2001:db8::1]:9464", 200),
        ("0.0.0.0:0", "localhost", 200),
        ("0.0.0.0:0", "", 200),
        ("localhost:0", "evil.example", 421),
    ],
)
async def test_requests_for_other_hosts_are_refused(listen: str, host: str, code: int) -> None:
    """A name that is not this machine's is a web page's, after DNS rebinding; one with the token is none."""
    async with serving(FakeView(), listen, "t") as server:
        answer = await talk(server.port, f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert Answer(answer).code == code
        with_token = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer t\r\n\r\n"
        assert Answer(await talk(server.port, with_token.encode())).code == 200


async def test_an_unknown_parameter_is_refused_by_name() -> None:
    """A misspelt parameter is refused by name, not ignored."""
    view = FakeView()
    async with serving(view) as server:
        answer = await ask(server.port, "/checkpoint?symbols=A", "POST")
        assert (answer.code, answer.text) == (400, "/checkpoint has no parameter symbols; it has symbol, wait\n")
        answer = await ask(server.port, "/status?x=1")
        assert (answer.code, answer.text) == (400, "/status has no parameter x; it has none\n")
        assert (await ask(server.port, "/checkpoint?wait=maybe", "POST")).code == 400
    assert not view.asked


async def test_a_web_page_is_told_why_it_is_refused() -> None:
    """The refusal says that web pages may not ask."""
    async with serving(FakeView()) as server:
        answer = await ask(server.port, "/checkpoint", "POST", Origin="http://evil")
    assert answer.code == 403
    assert answer.text.startswith("not from a web page (Origin: http://evil)")


@pytest.mark.long
async def test_too_many_waiting_clients_are_answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 100 clients gets an answer, if only that there are too many. Other requests are served meanwhile."""
    monkeypatch.setattr(module, "_MOST_PER_SECOND", 2000)
    view = FakeView()
    view.gate = asyncio.Event()
    async with serving(view) as server:
        asking = [asyncio.create_task(ask(server.port, "/checkpoint", "POST")) for _ in range(100)]
        await until(lambda: sum(task.done() for task in asking) == 100 - module._MOST_WAITING)
        assert (await ask(server.port, "/healthz")).code == 200
        view.gate.set()
        codes = [(await task).code for task in asking]
    assert codes.count(200) == len(view.asked) == module._MOST_WAITING
    assert codes.count(429) == 100 - module._MOST_WAITING


@pytest.mark.long
async def test_a_flood_of_requests_delays_nobody_else_for_long() -> None:
    """Clients that ask without a pause wait for their turn. Nobody else waits for long, and nothing piles up."""
    async with serving(FakeView()) as server:
        goes_on = True
        answers = 0

        async def flood() -> None:
            nonlocal answers
            while goes_on:
                assert (await ask(server.port, "/status")).code == 200
                answers += 1

        flooding = [asyncio.create_task(flood()) for _ in range(20)]
        await until(lambda: answers >= 30)
        for _ in range(3):
            before = answers
            assert (await ask(server.port, "/healthz")).code == 200
            assert answers - before < module._MOST_CONNECTIONS  # its turn came
        assert len(server._connections) < module._MOST_CONNECTIONS
        goes_on = False
        await asyncio.gather(*flooding)


async def test_a_slow_answer_is_kept_ten_times_as_long_as_it_took(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    """An answer is served again for ten times as long as making it took."""
    view = FakeView()
    made = 0

    def slow_status() -> dict[str, Any]:
        nonlocal made
        made += 1
        clock[0] += 0.02
        return {"ready": True}

    monkeypatch.setattr(view, "status", slow_status)
    async with serving(view) as server:
        for number in range(1, 4):
            await ask(server.port, "/status")
            assert made == number
            clock[0] += 0.19
            await ask(server.port, "/status")
            assert made == number
            clock[0] += 0.02


async def test_a_body_is_never_read() -> None:
    """A request with a huge body is answered after its head."""
    async with serving(FakeView()) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST /checkpoint HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000000\r\n\r\n")
        async with asyncio.timeout(60):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.transport.abort()


@pytest.mark.parametrize(
    "content", [b"", b"GET /metrics HTTP/1.1\r\nHo", b"POST /checkpoint HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"]
)
async def test_an_unfinished_request_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """A client that stops half-way, or sends byte by byte, is cut off after a while."""
    monkeypatch.setattr(module, "_LONGEST_CONNECTION_SECONDS", 0.3)
    async with serving(FakeView()) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(content)
        await until(lambda: bool(server._connections))

        async def dribble() -> None:
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.02)

        dribbling = asyncio.create_task(dribble())
        async with asyncio.timeout(60):
            with suppress(ConnectionError):
                await reader.read()
        dribbling.cancel()
        writer.transport.abort()
        await until(lambda: not server._connections)


@pytest.mark.long
async def test_of_many_connections_the_newest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 500 simultaneous connections the newest stay, and proper requests are served meanwhile."""
    monkeypatch.setattr(module, "_MOST_PER_SECOND", 2000)
    monkeypatch.setattr(module, "_LONGEST_CONNECTION_SECONDS", 600.0)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(FakeView()))
        sockets = []
        for _ in range(500):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", server.port))
            sockets.append(client)
        assert (await ask(server.port, "/healthz")).code == 200
        assert len(server._connections) <= 64

        def open_ones() -> int:
            return sum(is_open(client) for client in sockets)

        await until(lambda: open_ones() <= 64)
        assert open_ones() >= 60


def is_open(client: socket.socket) -> bool:
    """Whether the other side has not ended it."""
    try:
        return bool(client.recv(1))
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


@pytest.mark.long
async def test_connections_accepted_in_one_turn_are_limited_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that the loop accepts in one turn are limited in age and number as any others."""
    monkeypatch.setattr(module, "_LONGEST_CONNECTION_SECONDS", 0.3)
    monkeypatch.setattr(module, "_MOST_PER_SECOND", 2000)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(FakeView()))
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(90)]
        time.sleep(0.01)  # noqa: ASYNC251 - the loop stands still: all of them are there when it looks
        for client in clients:
            client.setblocking(False)
        await until(lambda: not any(is_open(client) for client in clients))


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The server's connections that have really ended."""
    lost: list[object] = []
    monkeypatch.setattr(web.RequestHandler, "connection_lost", lambda connection, _: lost.append(connection))
    return lost


async def test_clients_that_never_read_are_cut_off(monkeypatch: pytest.MonkeyPatch, lost: list[object]) -> None:
    """Answers that are never read are held for a while only, and closing does not wait for them."""
    view = FakeView()
    view.filling = b"x" * 30_000_000
    async with AsyncExitStack() as stack:
        monkeypatch.setattr(module, "_LONGEST_CONNECTION_SECONDS", 0.5)
        monkeypatch.setattr(module, "_LAST_ANSWERS_SECONDS", 0.1)
        server = await stack.enter_async_context(serving(view))
        for _ in range(10):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: len(lost) == 10)
        assert view.renderings > 0
        monkeypatch.setattr(module, "_LONGEST_CONNECTION_SECONDS", 60.0)
        last = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        last.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: len(server._connections) == 1)
        async with asyncio.timeout(60):
            await server.close()
        assert not server._connections


async def test_an_unread_answer_of_an_idle_connection_is_not_held(monkeypatch: pytest.MonkeyPatch, lost: list[object]) -> None:
    """A small answer that is never read is held for a while only, also on an idle connection."""
    monkeypatch.setattr(module, "_LONGEST_CONNECTION_SECONDS", 0.5)
    view = FakeView()
    view.filling = b"x" * 20_000
    async with serving(view) as server:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(("127.0.0.1", server.port))
        with client:
            await until(lambda: bool(server._connections))
            ((transport, _),) = server._connections.values()
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            await until(lambda: view.renderings == 1)
            await until(transport.is_closing)
            assert transport.get_write_buffer_size() > 0
            await until(lambda: bool(lost))


async def test_a_pending_answer_is_sent_at_the_end() -> None:
    """A client that waits for an answer when the endpoint closes still gets it."""
    view = FakeView()
    view.gate = asyncio.Event()
    async with serving(view) as server:
        asking = asyncio.create_task(ask(server.port, "/checkpoint", "POST"))
        await until(lambda: bool(view.asked))
        closing = asyncio.create_task(server.close())
        await asyncio.sleep(0)
        view.gate.set()
        assert (await asking).code == 200
        await closing


async def test_it_listens_on_an_ipv6_address() -> None:
    """The setting may be an address with colons."""
    view = FakeView()
    async with serving(view, "[::1]:0") as server:
        assert (await ask(server.port, "/checkpoint", "POST", host="::1")).code == 200


async def test_an_address_that_cannot_be_used_names_the_setting() -> None:
    """For a port in use, a foreign address and a bad host name, the error says which setting to change."""
    async with serving(FakeView()) as server:
        for listen in (f"127.0.0.1:{server.port}", "192.0.2.1:1", "a..b:1"):
            other = HttpServer(FakeView(), listen, "")
            with pytest.raises(ServiceError, match=r"cannot listen on .*choose another \[http\] listen") as raised:
                await other.start()
            assert listen in str(raised.value)
            await other.close()


async def test_close_ends_idle_connections_and_frees_the_port() -> None:
    """Closing ends idle connections, and the port can be used again."""
    async with serving(FakeView()) as server:
        port = server.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    async with asyncio.timeout(60):
        await reader.read()
    writer.transport.abort()
    with pytest.raises(OSError, match=r"Connect call failed|refused|Multiple exceptions"):
        await asyncio.open_connection("127.0.0.1", port)
    async with serving(FakeView(), f"127.0.0.1:{port}"):
        pass


_ARROW = "application/vnd.apache.arrow.stream"


@pytest.mark.parametrize(
    ("query", "headers", "kind", "text"),
    [
        ("", {}, "application/json", "20 json"),
        ("?levels=3", {}, "application/json", "3 json"),
        ("?levels=all&format=arrow", {}, _ARROW, "None arrow"),
        ("", {"Accept": _ARROW}, _ARROW, "20 arrow"),
        ("?format=json", {"Accept": _ARROW}, "application/json", "20 json"),
    ],
)
async def test_the_live_book_comes_as_it_is_asked_for(query: str, headers: dict[str, str], kind: str, text: str) -> None:
    """Levels, and the form by parameter or by Accept; ids are percent-encoded."""
    async with serving(FakeView()) as server:
        answer = await ask(server.port, f"/book/X%2FY%20%C3%A9{query}", **headers)
        assert (answer.code, answer.headers["content-type"].partition(";")[0], answer.text) == (200, kind, text)


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        ("/book/Z", 404, "no symbol Z"),
        ("/book/", 404, "no symbol "),
        ("/book/X%2FY%20%C3%A9?levels=0", 400, "levels is a positive number"),
        ("/book/X%2FY%20%C3%A9?levels=-1", 400, "levels is a positive number"),
        ("/book/X%2FY%20%C3%A9?format=csv", 400, "format is json or arrow"),
        ("/book/X%2FY%20%C3%A9?depth=3", 400, "/book/ has no parameter depth; it has levels, format"),
    ],
)
async def test_a_book_that_is_not_there_is_said_so(path: str, code: int, words: str) -> None:
    """Unknown symbols, levels, forms and parameters."""
    async with serving(FakeView()) as server:
        answer = await ask(server.port, path)
        assert answer.code == code
        assert words in answer.text


async def test_the_live_book_has_the_doors_of_the_others() -> None:
    """A foreign Host is refused, and so is another method; the token opens."""
    path = "/book/X%2FY%20%C3%A9"
    async with serving(FakeView(), token="secret") as server:  # noqa: S106 - of a test
        request = f"GET {path} HTTP/1.1\r\nHost: evil.example\r\n{{}}Connection: close\r\n\r\n"
        assert Answer(await talk(server.port, request.format("").encode())).code == 421
        assert Answer(await talk(server.port, request.format("Authorization: Bearer secret\r\n").encode())).code == 200
        assert (await ask(server.port, path, "POST")).code == 405


async def test_a_symbol_without_a_book_or_an_answer_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """503 while it has none, 504 when it does not answer in time."""
    view = FakeView()
    monkeypatch.setattr(module, "_LONGEST_BOOK_SECONDS", 0.05)
    async with serving(view) as server:
        view.error = "the symbol is restarting"
        answer = await ask(server.port, "/book/X%2FY%20%C3%A9")
        assert (answer.code, json.loads(answer.body)) == (503, {"error": "the symbol is restarting"})
        view.error, view.gate = None, asyncio.Event()
        assert (await ask(server.port, "/book/X%2FY%20%C3%A9")).code == 504
