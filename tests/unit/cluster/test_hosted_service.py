"""The service in a thread of somebody else's process: it begins by itself, and ends when it is told."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cowbook.cluster import hosted_service as module
from cowbook.cluster.hosted_service import HostedService
from cowbook.cluster.nodes import STAGES, Answer, ShardTask
from cowbook.config import Config, load_config
from cowbook.service.service import Service, run_once
from cowbook.simulate.capture import write_capture
from support.harness import read_parts

_CONFIG = """
[service]
state_dir = "{name}/state"
output_dir = "{name}/data"
shard = "0/1"
[http]
listen = "{listen}"
[checkpoint]
every_events = 1000
[[symbol]]
name = "BTCUSDT"
format = "binance"
paths = ["input"]
follow = {follow}
"""


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., Config]:
    """Makes a configuration of one symbol, whose capture is there."""
    write_capture(tmp_path / "input", symbol="BTCUSDT", messages=200, seed=5)

    def make(name: str = "shard", *, follow: bool = True, listen: str = "127.0.0.1:9464") -> Config:
        path = tmp_path / f"{name}.toml"
        path.write_text(_CONFIG.format(name=name, listen=listen, follow=str(follow).lower()))
        return load_config(path, {})

    return make


@pytest.fixture
def hosted() -> Iterator[Callable[[ShardTask], HostedService]]:
    """Makes services, each of which has ended when the test has."""
    made: list[HostedService] = []

    def make(task: ShardTask) -> HostedService:
        made.append(HostedService(task, "node-1", "127.0.0.1"))
        return made[-1]

    yield make
    for service in made:
        service.stop()
        wait_for(service, lambda answer: answer.has_ended)


def wait_for(service: HostedService, condition: Callable[[Answer], object]) -> Answer:
    """The first answer for which it holds."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = Answer(**service.look())
        if condition(answer):
            return answer
        time.sleep(0.01)
    raise AssertionError(f"not in time: {answer}")


def symbol_of(answer: Answer) -> dict[str, Any]:
    """The only symbol's status."""
    (symbol,) = answer.status["symbols"]
    return dict(symbol)


def test_it_runs_from_its_making_and_a_stop_takes_a_last_checkpoint(configured: Any, hosted: Any) -> None:
    """Whoever makes it anew goes on where it stood: nobody has to call anything."""
    task = ShardTask(configured())
    service = hosted(task)
    running = wait_for(service, lambda answer: answer.status["ready"] and symbol_of(answer)["messages"])
    assert (running.node, running.failure, running.task_number) == ("node-1", None, task.number)
    assert [*running.stages] == [*STAGES]
    assert all(seconds >= 0 for seconds in running.stages.values())
    assert service.look()["stages"] == running.stages  # those of its beginning, for good
    answers = service.checkpoint("BTCUSDT", waits=True)
    assert answers[0]["error"] is None
    service.stop()
    service.stop()  # whoever asks twice does not end it at once
    ended = wait_for(service, lambda answer: answer.has_ended)
    again = hosted(task)
    went_on = wait_for(again, lambda answer: answer.status["ready"])
    assert again.look()["instance"] != running.instance
    assert symbol_of(went_on)["events"] >= symbol_of(ended)["events"] > 0


def test_it_goes_over_to_a_later_task_and_what_is_in_both_does_not_notice(configured: Any, hosted: Any, tmp_path: Path) -> None:
    """An older one is not heard. What it no longer has is free for others, with its last checkpoint."""
    one = configured()
    text = (tmp_path / "shard.toml").read_text()
    table = text[text.index("[[symbol]]") :].replace("BTCUSDT", "ETHUSDT").replace("input", "other")
    (tmp_path / "shard.toml").write_text(text + table)
    both = load_config(tmp_path / "shard.toml", {})
    write_capture(tmp_path / "other", symbol="ETHUSDT", messages=200, seed=6)
    first = ShardTask(one)
    second = first.then(both)
    service = hosted(first)
    before = wait_for(service, lambda answer: answer.status["ready"] and symbol_of(answer)["messages"])
    for task in (second, second, first):
        service.follow(task)
    has_both = wait_for(service, lambda answer: answer.task_number == 2 and answer.status["ready"])
    assert [symbol["id"] for symbol in has_both.status["symbols"]] == ["BTCUSDT", "ETHUSDT"]
    assert (has_both.instance, has_both.port) == (before.instance, before.port)
    service.follow(second.then(both.model_copy(update={"symbol": both.symbol[1:]})))
    has_one = wait_for(service, lambda answer: answer.task_number == 3)
    assert symbol_of(has_one)["id"] == "ETHUSDT"
    taker = hosted(ShardTask(one))
    taken = wait_for(taker, lambda answer: answer.status["ready"])
    assert symbol_of(taken)["events"] == symbol_of(before)["events"] > 0


def test_its_endpoint_is_on_a_free_port_of_its_own(configured: Any, hosted: Any) -> None:
    """Two on one machine do not meet, whatever the configuration says; without an endpoint there is none."""
    services = [hosted(ShardTask(configured(name))) for name in ("one", "two")]
    ports = [wait_for(service, lambda answer: answer.port).port for service in services]
    assert len({*ports, 9464}) == 3
    with urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}/status", timeout=30) as response:
        assert json.load(response)["shard"] == "0/1"
    silent = hosted(ShardTask(configured("three", listen="")))
    assert wait_for(silent, lambda answer: answer.status["ready"]).port is None


def test_the_live_book_or_why_there_is_none(configured: Any, hosted: Any) -> None:
    """A text instead of an error, which not every process could read."""
    service = hosted(ShardTask(configured()))
    wait_for(service, lambda answer: answer.status["ready"] and symbol_of(answer)["messages"])
    body, problem = service.read_book("BTCUSDT", 3, "json")
    assert problem is None
    assert len(json.loads(body)["bids"]) == 3
    service.stop()
    wait_for(service, lambda answer: answer.has_ended)
    assert service.read_book("BTCUSDT", 3, "json")[1]


def test_a_run_to_the_end_writes_what_a_plain_one_writes(configured: Any, hosted: Any, tmp_path: Path) -> None:
    """And has its summary."""
    (expected,) = run_once(configured("plain", follow=False))
    service = hosted(ShardTask(configured("shard", follow=False), once=True))
    wait_for(service, lambda answer: answer.has_ended)
    (summary,) = service.summaries()
    assert (summary.state, summary.events) == ("done", expected.events)
    assert read_parts(tmp_path / "shard" / "data") == read_parts(tmp_path / "plain" / "data")


@pytest.mark.parametrize("once", [False, True])
def test_a_bug_ends_the_process_but_where_an_end_is_waited_for(
    configured: Any, monkeypatch: pytest.MonkeyPatch, once: bool
) -> None:
    """Who starts the process again does so without end: a run to the end of the input would never come to one."""

    async def fail(_service: Service) -> int:
        raise RuntimeError("nobody has foreseen this")

    exits: list[int] = []
    monkeypatch.setattr(Service, "run", fail)
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("os._exit", exits.append)
    ended = wait_for(HostedService(ShardTask(configured(), once=once), "node-1", "127.0.0.1"), lambda answer: answer.has_ended)
    assert exits == ([] if once else [1])
    assert ended.failure is not None
    assert "nobody has foreseen this" in ended.failure


def test_what_it_cannot_do_is_told(configured: Any) -> None:
    """Here: listen on an address that is another machine's."""
    service = HostedService(ShardTask(configured()), "node-1", "192.0.2.1")
    ended = wait_for(service, lambda answer: answer.has_ended)
    assert ended.failure is not None
    assert "cannot listen on 192.0.2.1:0" in ended.failure
