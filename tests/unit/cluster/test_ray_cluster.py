"""Spare processes on Ray, with Ray's few calls in memory. Real nodes are those of tests/crash/machines.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cowbook.cluster import ray_cluster as module
from cowbook.cluster.nodes import ShardTask
from cowbook.cluster.ray_cluster import RayCluster
from support.fake_cluster import part_of


class _EndedError(Exception):
    """As ray.exceptions.RayError."""


class _Actor:
    """What `remote` makes: its calls are answered once it is up, and fail once it has ended."""

    def __init__(self, options: dict[str, Any], shard: str | None) -> None:
        self.options, self.shard = options, shard
        self.is_up = self.has_ended = False
        self.wait = SimpleNamespace(remote=lambda: self)
        self.begin = SimpleNamespace(remote=self._begin)

    def _begin(self, shard: str) -> _Actor:
        self.shard = shard
        return self


class _Ray:
    """Ray, where an answer is the actor that gives it."""

    def __init__(self) -> None:
        self.actors: list[_Actor] = []
        self.killed: list[_Actor] = []
        self.exceptions = SimpleNamespace(RayError=_EndedError)

    def init(self, **_: Any) -> None:
        """Nothing to reach."""

    def remote(self, _class: type) -> Any:
        """As Ray's: the class with options, of which actors are made."""

        def make(options: dict[str, Any], shard: str | None) -> _Actor:
            self.actors.append(_Actor(options, shard))
            return self.actors[-1]

        return SimpleNamespace(options=lambda **options: SimpleNamespace(remote=lambda shard, *_: make(options, shard)))

    def wait(self, answers: list[_Actor], timeout: float) -> tuple[list[_Actor], list[_Actor]]:
        """Those that are there, and the others."""
        assert timeout == 0
        return [one for one in answers if one.is_up or one.has_ended], [
            one for one in answers if not (one.is_up or one.has_ended)
        ]

    def get(self, answer: _Actor, timeout: float | None = None) -> None:
        """Raises _EndedError if there will be none."""
        if answer.has_ended or not answer.is_up:
            raise _EndedError(timeout)

    def kill(self, actor: _Actor, *, no_restart: bool) -> None:
        """End it."""
        assert no_restart
        self.killed.append(actor)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> _Ray:
    """In place of the real one."""
    fake = _Ray()
    monkeypatch.setattr(module, "load_ray", lambda: fake)
    monkeypatch.setattr(RayCluster, "_on", lambda _self, node, **_: node)
    monkeypatch.setattr(RayCluster, "assign", lambda *_: None)
    return fake


@pytest.fixture
def task(tmp_path: Path) -> ShardTask:
    """Of a shard."""
    return ShardTask(part_of(tmp_path, "A"))


@pytest.fixture
def pass_seconds(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the clock."""
    now = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def go_on(seconds: float) -> None:
        now[0] += seconds

    return go_on


def test_spares_are_as_many_as_asked_for_and_count_once_they_are_up(ray: _Ray) -> None:
    """Those on a node that is gone, or that are too many, are let go; one that has ended is made anew."""
    cluster = RayCluster(Path("state"))
    assert cluster.keep_spares(["a", "b"], 2, ["binance"]) == {"a": 0, "b": 0}
    assert [actor.options["scheduling_strategy"] for actor in ray.actors] == ["a", "a", "b", "b"]
    for actor in ray.actors:
        actor.is_up = True
    assert cluster.keep_spares(["a", "b"], 2, ["binance"]) == {"a": 2, "b": 2}
    ray.actors[0].has_ended = True
    assert cluster.keep_spares(["a"], 2, ["binance"]) == {"a": 1}
    assert len(ray.actors) == 5
    assert cluster.keep_spares(["a"], 1, ["binance"]) == {"a": 1}
    assert len(ray.actors) == 5


def test_a_shard_begins_in_a_spare_that_is_ready(ray: _Ray, task: ShardTask) -> None:
    """Each spare takes one. Without any, and where the shard is to outlive the driver, an actor is started."""
    cluster = RayCluster(Path("state"))
    cluster.keep_spares(["a"], 2, ["binance"])
    ray.actors[1].is_up = True
    cluster.keep_spares(["a"], 2, ["binance"])
    assert cluster.start(task, "a", outlives=False) is ray.actors[1]
    ray.actors[0].is_up = True
    outliving = cluster.start(task, "a", outlives=True)
    assert (outliving.options["name"], outliving.options["max_restarts"]) == (task.shard, -1)
    assert cluster.start(task, "a", outlives=False) is ray.actors[0]
    started = cluster.start(task, "a", outlives=False)
    assert started not in ray.actors[:3]
    assert started.options["max_restarts"] == 0
    assert "name" not in started.options  # Ray would hand out the dead one that had it
    assert [actor.shard for actor in ray.actors] == [task.shard] * 4


def test_a_spare_that_does_not_begin_is_ended_and_another_process_started(ray: _Ray, task: ShardTask) -> None:
    """It might begin later."""
    cluster = RayCluster(Path("state"))
    cluster.keep_spares(["a"], 1, ["binance"])
    started = cluster.start(task, "a", outlives=False)
    assert ray.killed == [ray.actors[0]]
    assert started is ray.actors[1]


def test_a_node_on_which_none_can_start_gets_no_other_one_for_a_minute(ray: _Ray, pass_seconds: Callable[[float], None]) -> None:
    """As one with another release: each start takes seconds of a processor."""
    cluster = RayCluster(Path("state"))
    cluster.keep_spares(["a"], 1, ["binance"])
    ray.actors[0].has_ended = True
    for seconds, made in ((1.0, 1), (58.0, 1), (2.0, 2)):
        pass_seconds(seconds)
        assert cluster.keep_spares(["a"], 1, ["binance"]) == {"a": 0}
        assert len(ray.actors) == made, seconds


def test_how_long_a_process_takes_to_come_to_its_shard_is_counted_from_its_start() -> None:
    """By the kernel's clock; this one has lasted longer than its tests."""
    assert 0 < module._process_seconds() < float(re.split(r"\s", Path("/proc/uptime").read_text())[0]) + 1
