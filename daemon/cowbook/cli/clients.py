"""Asks a running cowbook over HTTP."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from cowbook.errors import ServiceError

_TIMEOUT_SECONDS = 60.0


def ask(url: str, path: str, *, method: str = "GET", token: str = "", seconds: float = _TIMEOUT_SECONDS) -> tuple[int, Any]:
    """Send a request. Returns the status code and the JSON answer. Raises ServiceError for no answer, or none of cowbook's."""
    base = url if "://" in url else f"http://{url}"
    if not _is_url(base):
        raise ServiceError(f"{url} is not a URL: give one such as http://127.0.0.1:9464")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(base.rstrip("/") + path, method=method, headers=headers)  # noqa: S310 - checked above
    # The service is local: never ask through a proxy.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=seconds) as response:
            return response.status, _parse(url, response.read())
    except urllib.error.HTTPError as error:
        with error:
            body = error.read()
        if error.headers.get_content_type() == "application/json":
            return error.code, _parse(url, body)
        raise ServiceError(f"{url}{path}: {error.code} {body.decode(errors='replace').strip()[:200]}") from error
    except http.client.HTTPException as error:
        raise ServiceError(f"{url} is not cowbook: its answer is not HTTP ({error!r})") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise ServiceError(f"no answer from {url}: {reason}; is cowbook running, with this [http] listen?") from error


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # malformed brackets or port
        return False


def _parse(url: str, body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise ServiceError(f"{url} is not cowbook: its answer is not JSON") from error
