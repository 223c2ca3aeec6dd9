"""The status page and the report's page in a real browser: what they show, on a desktop and on a phone, and what they load."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cowbook.cli.main import main
from cowbook.simulate.capture import write_capture
from support.browser import CHROMIUM, Browser
from support.daemon_process import DaemonProcess

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium"),
]

SIZES = [pytest.param(1280, 800, False, id="desktop"), pytest.param(390, 844, True, id="phone")]
SYMBOLS = ("BTCUSDT", "ETH/USD", "NOBODY")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A running service of two followed symbols, and one that fails: its capture is another's."""
    folder = tmp_path_factory.mktemp("page")
    config = '[checkpoint]\nevery = "1s"\n'
    for seed, name in enumerate(SYMBOLS):
        write_capture(folder / f"{seed}.jsonl", symbol=name if name != "NOBODY" else "LTCUSDT", messages=1500, seed=seed + 1)
        follow = "false" if name == "NOBODY" else "true"
        config += f'[[symbol]]\nname = "{name}"\nformat = "binance"\npaths = ["{seed}.jsonl"]\nfollow = {follow}\n'
    (folder / "cowbook.toml").write_text(config)
    with DaemonProcess(folder / "cowbook.toml") as process:
        process.wait_for(lambda: all((process.symbol(place)["events"] or 0) > 0 for place in (0, 1)), "events")
        process.wait_for(lambda: process.symbol(2)["state"] in ("failed", "restarting"), "the one that fails")
        yield process


def picture_of(tmp_path: Path, name: str) -> Path:
    """Where a picture goes: `COWBOOK_TEST_PICTURES` names a directory to look at them in."""
    return Path(os.environ.get("COWBOOK_TEST_PICTURES", tmp_path)) / f"{name}.png"


@pytest.mark.parametrize(("width", "height", "phone"), SIZES)
def test_the_status_page_shows_problems_first_and_a_live_book(
    service: DaemonProcess, tmp_path: Path, width: int, height: int, phone: bool
) -> None:
    """Its script renews it and shows a symbol's ladder; nothing is wider than the window but the table in its own frame."""
    picture = asyncio.run(look_at_status(f"http://127.0.0.1:{service.port}/#book/BTCUSDT", width, height, phone))
    picture_of(tmp_path, f"status-{width}").write_bytes(picture)


async def look_at_status(url: str, width: int, height: int, phone: bool) -> bytes:
    async with Browser() as browser:
        await browser.open(url, width=width, height=height, phone=phone)
        await browser.wait_for("document.querySelectorAll('#book table tr').length > 5")
        assert "NOBODY" in await browser.value("document.getElementById('problems').innerText")
        order = await browser.value(
            "[...document.querySelectorAll('tbody td:first-child')].map(cell => cell.innerText).slice(0, 3)"
        )
        assert order[0] == "NOBODY"
        assert set(order) == set(SYMBOLS)
        bid, ask = await browser.value(
            "(cells => [cells[1], cells[2]].map(cell => Number(cell.innerText)))(document.querySelectorAll('#book td'))"
        )
        assert 0 < bid < ask
        shown = "document.getElementById('main').innerText.match(/\\d\\d:\\d\\d:\\d\\d UTC/)[0]"
        before = await browser.value(shown)
        await browser.wait_for(f"{shown} !== '{before}'")
        assert await browser.value("document.documentElement.scrollWidth <= innerWidth")
        assert await browser.value(
            "performance.getEntriesByType('resource').every(each => each.name.startsWith(location.origin))"
        )
        assert [failure for failure in browser.failures if "favicon" not in failure] == []
        return await browser.picture()


@pytest.mark.parametrize(("width", "height", "phone"), SIZES)
def test_the_page_of_a_report_is_whole_by_itself(
    service: DaemonProcess, tmp_path: Path, width: int, height: int, phone: bool
) -> None:
    """It loads nothing, and nothing fails in it."""
    state = service.log_path.parent / "state"
    service.wait_for(lambda: (service.symbol().get("epoch") or 0) > 0, "a checkpoint")
    assert main(["report", str(state), "--html", str(tmp_path / "report.html")]) == 0
    picture = asyncio.run(look_at_report((tmp_path / "report.html").as_uri(), width, height, phone))
    picture_of(tmp_path, f"report-{width}").write_bytes(picture)


async def look_at_report(url: str, width: int, height: int, phone: bool) -> bytes:
    async with Browser() as browser:
        await browser.open(url, width=width, height=height, phone=phone)
        await browser.wait_for("document.querySelectorAll('.months').length > 0 && document.readyState === 'complete'")
        assert await browser.value("document.body.innerText.includes('BTCUSDT')")
        assert await browser.value("performance.getEntriesByType('resource').length") == 0
        assert browser.failures == []
        assert await browser.value("document.documentElement.scrollWidth <= innerWidth")
        return await browser.picture()
