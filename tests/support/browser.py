"""A headless Chromium, spoken to by its DevTools protocol: pages as people see them."""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-port=0", "about:blank"),
)
_PATIENCE_SECONDS = 60.0


class Browser:
    """One page in a browser of its own, with a profile that ends with it."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.failures: list[str] = []
        """What the page logged as an error, and scripts that failed."""

    async def __aenter__(self) -> Self:
        """Start it, and open an empty page."""
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        profile = Path(self._profile.name)
        command = [str(CHROMIUM), f"--user-data-dir={profile}", *_OPTIONS]
        nowhere = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(*command, stdout=nowhere, stderr=nowhere)
        port = profile / "DevToolsActivePort"
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while not port.exists() or len(port.read_text().splitlines()) < 2:  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(0.05)  # it writes the file when it listens
            self._session = aiohttp.ClientSession()
            async with self._session.get(f"http://127.0.0.1:{port.read_text().splitlines()[0]}/json/list") as answer:
                pages = await answer.json()
            url = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
            self._socket = await self._session.ws_connect(url, max_msg_size=0)
        for domain in ("Page", "Runtime", "Log"):
            await self.send(f"{domain}.enable")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End it."""
        await self._socket.close()
        await self._session.close()
        self._process.kill()
        await self._process.wait()
        self._profile.cleanup()

    async def send(self, method: str, **parameters: object) -> dict[str, Any]:
        """A command of the protocol, and its result."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                message = await self._socket.receive_json()
                if message.get("id") == number:
                    assert "error" not in message, message
                    result: dict[str, Any] = message["result"]
                    return result
                self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.failures.append(str(message["params"]["exceptionDetails"]))
            case "Log.entryAdded" if message["params"]["entry"]["level"] == "error":
                self.failures.append(str(message["params"]["entry"]))

    async def open(self, url: str, *, width: int, height: int, phone: bool = False) -> None:
        """Show a page in a window of this size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        await self.send("Emulation.setDeviceMetricsOverride", **size)
        await self.send("Page.navigate", url=url)

    async def value(self, expression: str) -> Any:
        """The value of an expression of JavaScript in the page."""
        result = await self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        return result["result"].get("value")

    async def wait_for(self, expression: str) -> None:
        """Wait until an expression is true."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while not await self.value(expression):  # noqa: ASYNC110 - the page says nothing of its own
                await asyncio.sleep(0.05)

    async def picture(self) -> bytes:
        """What it shows, as PNG."""
        result = await self.send("Page.captureScreenshot", format="png")
        return base64.b64decode(result["data"])
