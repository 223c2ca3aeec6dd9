"""How soon an appended line comes out of a follower, and what idle followers cost.

python tests/bench/follow.py [appends] [followers] [seconds]
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvloop

from cowbook.capture.follower import Follower
from cowbook.capture.inotify import Watcher
from cowbook.capture.rotation import FollowSettings

_REST_SECONDS = 20.0
"""Idle followers look less and less often, up to this."""


async def latency(folder: Path, readers: ThreadPoolExecutor, watcher: Watcher | None, appends: int) -> list[float]:
    """Seconds from each append to its block, at random intervals, on one loop."""
    path = folder / "latency.log"
    path.write_bytes(b"")
    written: list[float] = []

    def write() -> None:
        rng = random.Random(1)
        with path.open("ab", buffering=0) as file:
            for number in range(appends):
                time.sleep(rng.uniform(0.005, 0.04))
                written.append(time.monotonic())
                file.write(b"line %d\n" % number)

    follower = Follower([], executor=readers, follow=FollowSettings((path.name,), folder), watcher=watcher)
    writer = threading.Thread(target=write)
    writer.start()
    seconds: list[float] = []
    while len(seconds) < appends:
        block = await follower.next_block()
        assert block is not None
        now = time.monotonic()
        count = block.buffer[block.start : block.end].tobytes().count(b"\n")
        seconds += [now - written[len(seconds) + place] for place in range(count)]
        block.start = block.end
    writer.join()
    await follower.close()
    return seconds


async def idle(folder: Path, readers: ThreadPoolExecutor, watcher: Watcher | None, followers: int, seconds: float) -> float:
    """Share of a core that idle followers take, each on a loop of its own in its own thread, as in the daemon."""
    stops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    ready = threading.Semaphore(0)

    async def follow(number: int) -> None:
        path = folder / f"idle-{number}.log"
        path.write_bytes(b"line\n")
        stop = asyncio.Event()
        stops.append((asyncio.get_running_loop(), stop))
        follower = Follower([], executor=readers, follow=FollowSettings((f"idle-{number}.l*",), folder), watcher=watcher)
        block = await follower.next_block()
        assert block is not None
        block.start = block.end
        waiting = asyncio.ensure_future(follower.next_block())
        ready.release()
        await stop.wait()
        waiting.cancel()
        await asyncio.wait([waiting])
        await follower.close()

    def run(number: int) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(follow(number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(followers)]
    for thread in threads:
        thread.start()
    for _ in threads:
        await asyncio.to_thread(ready.acquire)
    await asyncio.sleep(_REST_SECONDS)
    before = time.process_time()
    await asyncio.sleep(seconds)
    share = (time.process_time() - before) / seconds
    for loop, stop in stops:
        loop.call_soon_threadsafe(stop.set)
    for thread in threads:
        await asyncio.to_thread(thread.join)
    return share


async def main(appends: int, followers: int, seconds: float) -> None:
    """Print both, with inotify and without."""
    with ThreadPoolExecutor(4) as readers, tempfile.TemporaryDirectory() as name:
        for kind in ("inotify", "polling"):
            watcher = Watcher.open(asyncio.get_running_loop()) if kind == "inotify" else None
            found = sorted(await latency(Path(name), readers, watcher, appends))
            p99 = found[int(len(found) * 0.99)]
            middle, largest = statistics.median(found), found[-1]
            print(
                f"{kind}: {appends} appends: median {middle * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms, largest {largest * 1e3:.1f} ms"
            )
            share = await idle(Path(name), readers, watcher, followers, seconds)
            print(f"{kind}: {followers} idle followers: {share * 100:.1f} % of a core over {seconds:g} s")
            if watcher is not None:
                watcher.close()


if __name__ == "__main__":
    given = [float(text) for text in sys.argv[1:]]
    uvloop.run(
        main(int(given[0]) if given else 300, int(given[1]) if len(given) > 1 else 200, given[2] if len(given) > 2 else 10)
    )
