"""`cowbook status` and `cowbook checkpoint` against servers that answer well, badly, and not at all."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cowbook.cli import clients
from cowbook.cli.main import main
from cowbook.errors import ServiceError

SYMBOL = {
    "id": "BTCUSDT",
    "state": "running",
    "error": None,
    "waiting_for": None,
    "checkpoint_error": None,
    "events": 1234567,
    "synced": True,
    "known": {"bids": {"to": "9.50", "whole": False}, "asks": {"to": None, "whole": True}, "best": 0.75, "grid": None},
    "gaps": 0,
    "dead_letters": 3,
    "lag_bytes": None,
    "event_time": "2026-01-01T00:00:00Z",
    "epoch": 7,
    "checkpoint_time": "2026-01-01T00:00:01Z",
}
STATUS = {"version": "9.9", "started": "2026-01-01T00:00:00+00:00", "ready": True, "symbols": [SYMBOL]}


class Server:
    """Answers one thing, and remembers what it was asked."""

    def __init__(self) -> None:
        self.code, self.content_type, self.body = 200, "application/json", b"{}"
        self.asked: list[tuple[str, str, str | None]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append((self.command, self.path, self.headers["Authorization"]))
                self.send_response(server.code)
                self.send_header("Content-Type", server.content_type)
                self.send_header("Content-Length", str(len(server.body)))
                self.end_headers()
                self.wfile.write(server.body)

            do_POST = do_GET  # noqa: N815 - its name

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def says(self, value: object, code: int = 200) -> None:
        """From now on, in JSON."""
        self.code, self.body = code, json.dumps(value).encode()


@pytest.fixture
def server() -> Iterator[Server]:
    """One that runs."""
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


@contextlib.contextmanager
def raw_server(answer: bytes) -> Iterator[str]:
    """Says this to the first client, whatever it asks."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread.join()


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COWBOOK_HTTP__TOKEN", raising=False)


def test_status_has_a_line_per_symbol_with_its_problem(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each symbol, and why one waits or has failed."""
    waiting = SYMBOL | {"id": "WAITS[red]", "state": "waiting", "waiting_for": "input/a*.gz"}
    server.says(STATUS | {"symbols": [SYMBOL, waiting]})
    assert main(["status", server.url]) == 0
    output = capsys.readouterr().out
    assert "cowbook 9.9, ready, since 2026-01-01T00:00:00+00:00" in output
    (line,) = [line for line in output.splitlines() if "BTCUSDT" in line]
    assert [cell.strip() for cell in line.strip("│").split("│")] == [
        *(
            "BTCUSDT",
            "running",
            "1,234,567",
            "yes",
            "9.5 to all",
            "0",
            "3",
            "-",
            "2026-01-01T00:00:00Z",
            "7",
            "2026-01-01T00:00:01Z",
        )
    ]
    assert "waiting: WAITS[red]: input/a*.gz" in output
    assert server.asked == [("GET", "/status", None)]


def test_status_of_several_is_one_table(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """One that does not answer is named, and the exit code is 1; if none answers, that is an error as with one."""
    server.says(STATUS | {"shard": "0/2"})
    assert main(["status", server.url, server.url, "--json"]) == 0
    both = json.loads(capsys.readouterr().out)
    assert (both["version"], both["shard"], both["ready"]) == ("9.9", "0/2, 0/2", True)
    assert both["symbols"] == [SYMBOL, SYMBOL]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        nobody = f"http://127.0.0.1:{listening.getsockname()[1]}"
    assert main(["status", nobody, server.url]) == 1
    said = capsys.readouterr().out
    assert "cowbook 9.9, not ready" in said
    assert "BTCUSDT" in said
    assert f"no answer from {nobody}" in said.replace("\n", " ")
    assert main(["status", nobody, nobody]) == 1
    assert f"no answer from {nobody}" in capsys.readouterr().err


def test_status_of_a_driver_has_a_line_about_each_shard(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """Where it is, since when, and what its last takeover took; what is lost stands below, and the exit code is 1."""
    shard = {"shard": "0/2", "state": "running", "node": "node-a", "url": "http://10.0.0.1:9000", "symbols": 3}
    moved = shard | {"takeovers": 2, "takeover_seconds": 4.123, "since_seconds": 12.4}
    new = shard | {
        "shard": "1/2",
        "state": "starting",
        "node": None,
        "takeovers": 0,
        "takeover_seconds": None,
        "since_seconds": 1.0,
    }
    server.says(STATUS | {"shards": [moved, new], "unreachable": ["shard 1/2 has not answered for 9 s"]})
    assert main(["status", server.url]) == 1
    said = capsys.readouterr().out
    assert "shard 0/2: running on node-a for 12 s, 3 symbols; taken over 2 times, the last in 4.1 s\n" in said
    assert "shard 1/2: starting, 3 symbols\n" in said
    assert "shard 1/2 has not answered for 9 s" in said


def test_status_fails_with_a_failed_symbol(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and the reason."""
    server.says(STATUS | {"ready": False, "symbols": [SYMBOL | {"state": "failed", "error": "a gap"}]})
    assert main(["status", server.url]) == 1
    output = capsys.readouterr().out
    assert "not ready" in output
    assert "failed: BTCUSDT: a gap" in output


def test_status_as_json_is_the_endpoints_answer(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """What /status says."""
    server.says(STATUS)
    assert main(["status", server.url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == STATUS


@pytest.mark.parametrize("given", ["127.0.0.1:{port}", "http://127.0.0.1:{port}/", "http://127.0.0.1:{port}"])
def test_urls_may_lack_scheme_and_end_with_a_slash(server: Server, given: str) -> None:
    """With and without what a URL begins and ends with."""
    server.says(STATUS)
    assert main(["status", given.format(port=server.http.server_address[1]), "--json"]) == 0
    assert server.asked[0][1] == "/status"


def test_no_proxy_is_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server.says(STATUS)
    assert main(["status", server.url]) == 0


def test_checkpoint_prints_the_epochs(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """The epochs; of all symbols, or one, whatever it is called."""
    done: list[dict[str, Any]] = [{"id": "A", "epoch": 7, "error": None}, {"id": "B", "epoch": None, "error": None}]
    server.says({"checkpoints": done})
    assert main(["checkpoint", server.url]) == 0
    assert capsys.readouterr().out == "A: epoch 7\nB: nothing consumed yet\n"
    assert main(["checkpoint", server.url, "--symbol", "a b&c=/%?", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"checkpoints": done}
    assert server.asked == [("POST", "/checkpoint", None), ("POST", "/checkpoint?symbol=a%20b%26c%3D%2F%25%3F", None)]


def test_checkpoint_without_waiting_prints_the_newest_epoch(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """What there is so far."""
    server.says({"checkpoints": [{"id": "A", "epoch": 6, "error": None}]}, 202)
    assert main(["checkpoint", server.url, "--no-wait", "--symbol", "A"]) == 0
    assert capsys.readouterr().out == "A: asked for; the newest so far: epoch 6\n"
    assert server.asked == [("POST", "/checkpoint?symbol=A&wait=no", None)]


def test_a_failed_checkpoint_fails_and_the_others_are_printed(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1; what did not fail is said all the same."""
    server.says({"checkpoints": [{"id": "A", "epoch": 7, "error": None}, {"id": "B", "epoch": None, "error": "full"}]}, 503)
    assert main(["checkpoint", server.url]) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("A: epoch 7\n", "B: full\n")


def test_the_token_comes_from_the_option_else_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the command line, else from the environment."""
    server.says({"checkpoints": []})
    monkeypatch.setenv("COWBOOK_HTTP__TOKEN", "one")
    assert main(["checkpoint", server.url]) == 0
    assert main(["checkpoint", server.url, "--token", "two"]) == 0
    assert [token for _, _, token in server.asked] == ["Bearer one", "Bearer two"]


def test_refusals_are_one_line_each(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown symbol, an attempt that takes too long, and no right to ask: one line each, and exit code 1."""
    for code, value in ((404, {"error": "no symbol X"}), (504, {"error": "not done after 50 s"})):
        server.says(value, code)
        assert main(["checkpoint", server.url, "--symbol", "X"]) == 1
        assert capsys.readouterr().err == f"cowbook: {server.url}: {value['error']}\n"
    server.code, server.content_type, server.body = 403, "text/plain", b"only from this machine\n"
    assert main(["checkpoint", server.url]) == 1
    assert capsys.readouterr().err == f"cowbook: {server.url}/checkpoint: 403 only from this machine\n"


@pytest.mark.parametrize("command", ["status", "checkpoint"])
def test_no_daemon_is_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert main([command, f"http://127.0.0.1:{port}"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"cowbook: no answer from http://127.0.0.1:{port}: [Errno 111] Connection refused; is cowbook")
    assert error.count("\n") == 1


def test_a_silent_server_is_one_line() -> None:
    """Someone listens and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(ServiceError, match=r"no answer from .*timed out"):
            clients.ask(url, "/status", seconds=0.05)


@pytest.mark.parametrize("command", ["status", "checkpoint"])
@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b"1", b'{"a": 1}', b"\xff", b""], ids=["html", "array", "number", "object", "bytes", "empty"]
)
@pytest.mark.parametrize("code", [200, 500])
def test_another_http_server_is_not_taken_for_cowbook(
    server: Server, capsys: pytest.CaptureFixture[str], command: str, body: bytes, code: int
) -> None:
    """Another server on this port."""
    server.code, server.body = code, body
    assert main([command, server.url]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"cowbook: {server.url}")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="ssh"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", id="shorter_than_announced"),
        pytest.param(b"\0" * 99, id="zeros"),
    ],
)
def test_a_server_without_http_is_one_line(answer: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """Something else on this port."""
    with raw_server(answer) as url:
        assert main(["status", url]) == 1
    error = capsys.readouterr().err
    assert error.startswith("cowbook: ")
    assert url in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "url",
    ["ftp://127.0.0.1", "file:///etc/passwd", "http://", "http://[::1", "http://127.0.0.1:port", "http://127.0.0.1:99999", ""],
)
def test_what_is_not_a_url_is_one_line(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, and no traceback."""
    assert main(["status", url]) == 1
    assert capsys.readouterr().err == f"cowbook: {url} is not a URL: give one such as http://127.0.0.1:9464\n"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a b", "http://a..b", "http://127.0.0.1:1/\x7f"])
def test_a_url_that_leads_nowhere_is_one_line(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, and no traceback."""
    assert main(["status", url]) == 1
    error = capsys.readouterr().err
    assert error.startswith("cowbook: ")
    assert error.count("\n") == 1
