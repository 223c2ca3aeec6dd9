"""A server that speaks as much of S3 as cowbook needs, in memory, and whose faults a test chooses."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

Fault = Callable[[str, str], str]
"""By method and key: "" for none, or throttle, lose (do it, answer nothing), drop (do nothing, answer nothing), hang, deny."""


class Answer(NamedTuple):
    """What is answered."""

    status: int
    content: bytes
    etag: str = '"0"'
    range: str = ""
    """As a header says it; empty without one."""


class FakeS3:
    """One bucket, called `bucket`; a context that serves it on 127.0.0.1."""

    def __init__(self, *, is_conditional: bool = True) -> None:
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.fault: Fault = lambda _method, _key: ""
        self.hang_seconds = 1.0
        self.lock = threading.Lock()
        self.in_flight = 0
        """Requests that are being answered, also those that nobody waits for any more."""
        self._is_conditional = is_conditional
        self._uploads: dict[str, dict[int, bytes]] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which clients find it."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._server.server_address[1]}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "eu-central-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def __enter__(self) -> Self:
        """Serve."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()

    def count(self, method: str) -> int:
        """Requests of a method so far."""
        return sum(name == method for name, _ in self.requests)

    def answer(self, method: str, key: str, query: dict[str, list[str]], headers: Any, body: bytes) -> Answer:
        """Do what is asked."""
        with self._lock:
            if key and (method == "POST" or "uploadId" in query):
                return Answer(200, self._upload(method, key, query, body))
            if method == "PUT":
                if self._is_conditional and headers.get("If-None-Match") == "*" and key in self.objects:
                    return Answer(412, _error("PreconditionFailed"))
                self.objects[key] = body
                return Answer(200, b"", etag=_etag(body))
            if method == "POST":  # ?delete
                keys = re.findall(r"<Key>([^<]*)</Key>", body.decode())
                for name in keys:
                    self.objects.pop(unescape(name), None)
                deleted = "".join(f"<Deleted><Key>{name}</Key></Deleted>" for name in keys)
                return Answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())
            if not key:
                return Answer(200, self._list(query.get("prefix", [""])[0]))
            if key not in self.objects:
                return Answer(404, _error("NoSuchKey"))
            return _get(self.objects[key], headers)

    def _upload(self, method: str, key: str, query: dict[str, list[str]], body: bytes) -> bytes:
        """Do what is asked of an object that comes in pieces: begin it, take one, put them together."""
        if "uploadId" not in query:
            name = str(len(self._uploads))
            self._uploads[name] = {}
            return f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId></InitiateMultipartUploadResult>".encode()
        pieces = self._uploads[query["uploadId"][0]]
        if method == "PUT":
            pieces[int(query["partNumber"][0])] = body
            return b""
        self.objects[key] = b"".join(piece for _, piece in sorted(pieces.items()))
        return b'<CompleteMultipartUploadResult><ETag>"1"</ETag></CompleteMultipartUploadResult>'

    def _list(self, prefix: str) -> bytes:
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>{escape(_etag(content))}</ETag></Contents>"
            for key, content in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and content are two writes: the second would wait 40 ms

            def _do(self) -> None:
                with server.lock:
                    server.in_flight += 1
                try:
                    self._answer()
                finally:
                    with server.lock:
                        server.in_flight -= 1

            def _answer(self) -> None:
                parts = urlsplit(self.path)
                key = unquote(parts.path).removeprefix("/bucket").lstrip("/")
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                server.requests.append((self.command, key))
                fault = server.fault(self.command, key)
                if fault == "hang":
                    time.sleep(server.hang_seconds)
                if fault in ("throttle", "deny"):
                    answer = Answer(503, _error("SlowDown")) if fault == "throttle" else Answer(403, _error("AccessDenied"))
                elif fault != "drop":
                    answer = server.answer(self.command, key, parse_qs(parts.query), self.headers, body)
                if fault in ("lose", "drop"):
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(answer.content)))
                self.send_header("ETag", answer.etag)
                self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
                if answer.range:
                    self.send_header("Content-Range", answer.range)
                self.end_headers()
                if self.command != "HEAD":
                    with suppress(ConnectionError):  # who has asked was killed, or has given up
                        self.wfile.write(answer.content)

            do_GET = do_PUT = do_POST = do_HEAD = _do  # noqa: N815 - what http.server calls

            def log_message(self, *_: object) -> None:
                """Nothing."""

        return Handler


def _get(content: bytes, headers: Any) -> Answer:
    """An object, or the range of it that is asked for."""
    etag = _etag(content)
    if headers.get("If-Match") not in (None, etag):
        return Answer(412, _error("PreconditionFailed"))
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("Range", ""))
    if asked is None:
        return Answer(200, content, etag)
    first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
    if first > last:
        return Answer(416, _error("InvalidRange"))
    return Answer(206, content[first : last + 1], etag, f"bytes {first}-{last}/{len(content)}")


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
