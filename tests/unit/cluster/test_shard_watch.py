"""Whose answers count, and what is a takeover."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cowbook.cluster.nodes import ShardTask
from cowbook.cluster.shard_watch import ShardWatch
from support.fake_cluster import answer_of, part_of

ALIVE = {"n1": None, "n2": None}


@pytest.fixture
def watch(tmp_path: Path) -> ShardWatch:
    """Of a shard that was started at time 0."""
    return ShardWatch(ShardTask(part_of(tmp_path, "A", "B")), object(), 0.0)


def test_a_new_instance_takes_over_and_the_old_one_never_counts_again(watch: ShardWatch) -> None:
    """The seconds are those from the last answer of the old one until the new one is ready."""
    assert watch.take(answer_of("old", "n1"), ALIVE, 1.0)
    assert watch.take(answer_of("new", "n2", ready=False), ALIVE, 8.0)
    assert (watch.takeovers, watch.takeover_seconds) == (1, None)
    assert not watch.take(answer_of("old", "n1"), ALIVE, 8.5)
    assert watch.take(answer_of("new", "n2"), ALIVE, 9.0)
    assert watch.takeover_seconds == 8.0
    assert watch.answer is not None
    assert watch.answer.instance == "new"


def test_the_stages_of_a_takeover_are_its_seconds(watch: ShardWatch) -> None:
    """What the new process does not account for is the time until somebody noticed."""
    watch.take(answer_of("old", "n1"), ALIVE, 1.0)
    stages = {"process": 2.0, "kernels": 0.5, "symbols": 1.5}
    watch.take(replace(answer_of("new", "n2", ready=False), stages={"process": 2.0}), ALIVE, 6.0)
    assert watch.takeover_stages == {}
    watch.take(replace(answer_of("new", "n2"), stages=stages), ALIVE, 8.0)
    assert watch.takeover_stages == {"notice": 3.0, **stages}
    assert sum(watch.takeover_stages.values()) == watch.takeover_seconds


def test_an_answer_from_a_node_that_is_not_alive_does_not_count(watch: ShardWatch) -> None:
    """Even the first one: the engine may hand out what a worker that was cut off says."""
    assert not watch.take(answer_of("old", "n3"), ALIVE, 1.0)
    assert watch.answer is None
    assert watch.state(ALIVE, 1.0) == "starting"


def test_a_shard_is_lost_when_its_node_is_or_when_it_says_nothing(watch: ShardWatch) -> None:
    """Until it answers again."""
    watch.take(answer_of("one", "n1"), ALIVE, 1.0)
    assert watch.state(ALIVE, 2.0) == "running"
    assert watch.state({"n2": None}, 2.0) == "lost"
    assert watch.state(ALIVE, 10.0) == "lost"
    watch.take(answer_of("one", "n1"), ALIVE, 10.5)
    assert (watch.state(ALIVE, 10.6), watch.takeovers) == ("running", 0)


def test_a_process_that_is_gone_is_lost_at_once(watch: ShardWatch) -> None:
    """Nobody waits for an answer that cannot come."""
    watch.take(answer_of("one", "n1"), ALIVE, 1.0)
    watch.note_gone()
    assert watch.state(ALIVE, 1.1) == "lost"
    watch.take(answer_of("two", "n1"), ALIVE, 3.0)
    assert (watch.state(ALIVE, 3.0), watch.takeovers, watch.takeover_seconds) == ("running", 1, 2.0)


def test_a_move_is_no_takeover(watch: ShardWatch) -> None:
    """It is moving from the driver's stop until the new process is ready, whatever the old one says meanwhile."""
    watch.take(answer_of("one", "n1"), ALIVE, 1.0)
    watch.begin_move()
    watch.take(answer_of("one", "n1", ended=True), ALIVE, 1.5)
    assert watch.state(ALIVE, 1.6) == "moving"
    watch.start_again(watch.task, object(), 2.0)
    assert not watch.take(answer_of("one", "n1"), ALIVE, 2.5)
    watch.take(answer_of("two", "n2", ready=False), ALIVE, 3.0)
    assert watch.state(ALIVE, 3.0) == "moving"
    watch.take(answer_of("two", "n2"), ALIVE, 4.0)
    assert (watch.state(ALIVE, 4.0), watch.takeovers) == ("running", 0)


def test_what_has_failed_or_ended_says_so(watch: ShardWatch) -> None:
    """A failure of the service is one of the shard."""
    watch.take(answer_of("one", "n1", ended=True), ALIVE, 1.0)
    assert watch.state(ALIVE, 1.0) == "done"
    watch.take(answer_of("one", "n1", ended=True, failure="no port"), ALIVE, 2.0)
    assert watch.state(ALIVE, 2.0) == "failed"
