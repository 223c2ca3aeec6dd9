"""What is shown of all shards as one."""

from __future__ import annotations

from pathlib import Path

from cowbook.cluster.nodes import Node, ShardTask
from cowbook.cluster.overview import discover, merge_status, status_line
from cowbook.cluster.shard_watch import ShardWatch
from support.fake_cluster import answer_of, part_of

NODES = {"n1": Node("n1", "first"), "n2": Node("n2", "second")}
ORDER = {"A": 0, "B": 1}


def watches(tmp_path: Path) -> tuple[ShardWatch, ShardWatch]:
    """Two shards: B runs, and of A nothing is known yet."""
    shards = []
    for index, symbol in enumerate("BA"):
        config = part_of(tmp_path, symbol)
        named = config.model_copy(update={"service": config.service.model_copy(update={"shard": f"{index}/2"})})
        shards.append(ShardWatch(ShardTask(named), object(), 0.0))
    shards[0].take(answer_of("one", "n1", "B"), NODES, 1.0)
    return shards[0], shards[1]


def test_symbols_stand_in_their_order_and_those_unheard_of_are_starting(tmp_path: Path) -> None:
    """All fields of /status are there, as null."""
    status = merge_status(watches(tmp_path), NODES, ORDER, "2026-01-01", 1.5)
    assert [(symbol["id"], symbol["state"]) for symbol in status["symbols"]] == [("A", "starting"), ("B", "running")]
    assert status["symbols"][0].keys() == status["symbols"][1].keys()
    assert not status["ready"]
    assert [(row["shard"], row["state"], row["node"]) for row in status["shards"]] == [
        ("0/2", "running", "first"),
        ("1/2", "starting", None),
    ]


def test_a_symbol_on_its_way_is_moving_whether_or_not_a_shard_has_it(tmp_path: Path) -> None:
    """As long as that lasts, not everything is ready."""
    up, _ = watches(tmp_path)
    for moving, in_status in (("A", [("A", "moving"), ("B", "running")]), ("B", [("B", "moving")])):
        status = merge_status((up,), NODES, ORDER, "2026-01-01", 1.5, moving)
        assert [(symbol["id"], symbol["state"]) for symbol in status["symbols"]] == in_status
        assert not status["ready"]
    assert merge_status((up,), NODES, ORDER, "2026-01-01", 1.5)["ready"]


def test_a_failure_is_named_with_its_node(tmp_path: Path) -> None:
    """It stands where `cowbook status` shows what does not answer."""
    up, other = watches(tmp_path)
    other.take(answer_of("two", "n2", "A", ended=True, failure="cannot listen"), NODES, 1.0)
    status = merge_status((up, other), NODES, ORDER, "2026-01-01", 1.5)
    assert status["unreachable"] == ["shard 1/2 failed on second: cannot listen"]
    assert not status["ready"]


def test_prometheus_finds_each_shard_that_is_there(tmp_path: Path) -> None:
    """A label that changes with a move would begin new series: the node is one that Prometheus drops."""
    up, other = watches(tmp_path)
    labels = {"shard": "0/2", "__meta_cowbook_node": "first"}
    assert discover((up, other), NODES, 1.5) == [{"targets": ["host-n1:9000"], "labels": labels}]
    assert discover((up, other), NODES, 60.0) == []


def test_one_line_for_systemd(tmp_path: Path) -> None:
    """States of shards, nodes, events."""
    assert status_line(watches(tmp_path), NODES, 1.5) == "shards: 1 running, 1 starting; 2 nodes; 7 events"
