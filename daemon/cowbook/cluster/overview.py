"""What a driver shows of all its shards as one: status, metrics, and where Prometheus finds each. Pure but for the metrics."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, disable_created_metrics

from cowbook import __version__
from cowbook.cluster.nodes import Node
from cowbook.cluster.shard_watch import ShardWatch
from cowbook.telemetry.status import empty_status


def merge_status(
    shards: Sequence[ShardWatch],
    nodes: Mapping[str, Node],
    order: Mapping[str, int],
    started: str,
    now: float,
    moving: str | None = None,
) -> dict[str, Any]:
    """Returns the status of all shards as /status has it: symbols in their order, and a line about each shard.

    Of a shard that does not answer the symbols are shown as they were last, with the state `lost`. `moving` is a symbol that
    may be in no shard now.
    """
    symbols: list[dict[str, Any]] = []
    rows = []
    problems = []
    for watch in shards:
        state = watch.state(nodes, now)
        rows.append(_shard_row(watch, nodes, state, now))
        found = {symbol["id"]: symbol for symbol in watch.answer.status["symbols"]} if watch.answer is not None else {}
        for symbol_id in watch.symbol_ids:
            symbol = dict(found.get(symbol_id) or empty_status(symbol_id))
            if state == "lost":
                symbol |= {"state": state, "error": f"its shard {watch.shard} does not answer"}
            elif state == "moving" or symbol_id == moving:
                symbol |= {"state": "moving"}
            symbols.append(symbol)
        if state == "lost":
            problems.append(f"shard {watch.shard} has not answered for {now - watch.answered_at:.0f} s")
        elif state == "failed" and watch.answer is not None:
            problems.append(f"shard {watch.shard} failed on {_node_name(watch, nodes)}: {watch.answer.failure}")
    if moving is not None and moving not in (symbol["id"] for symbol in symbols):
        symbols.append(empty_status(moving) | {"state": "moving"})
    symbols.sort(key=lambda symbol: order[symbol["id"]])
    return {
        "version": __version__,
        "started": started,
        "shard": None,
        "ready": bool(shards) and moving is None and all(is_ready(watch, nodes, now) for watch in shards),
        "unreachable": problems,
        "shards": rows,
        "symbols": symbols,
    }


def is_ready(watch: ShardWatch, alive: Collection[str], now: float) -> bool:
    """Whether a shard is there, and all its symbols have stood at their place."""
    return watch.is_ready and watch.state(alive, now) in ("running", "done")


def discover(shards: Sequence[ShardWatch], nodes: Mapping[str, Node], now: float) -> list[dict[str, Any]]:
    """Returns Prometheus' targets (http_sd): a group for each shard that is there, with its endpoint.

    A label of the target would begin new series when a shard moves, so the node is one that is dropped unless it is relabelled.
    """
    return [
        {"targets": [address], "labels": {"shard": watch.shard, "__meta_cowbook_node": _node_name(watch, nodes)}}
        for watch in shards
        if (address := _address(watch)) is not None and not watch.is_lost(nodes, now)
    ]


def status_line(shards: Sequence[ShardWatch], nodes: Mapping[str, Node], now: float) -> str:
    """Returns one line about all shards, for systemd."""
    states = [watch.state(nodes, now) for watch in shards]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    answers = [watch.answer for watch in shards if watch.answer is not None]
    events = sum(symbol["events"] or 0 for answer in answers for symbol in answer.status["symbols"])
    return f"shards: {counts or 'none'}; {len(nodes)} nodes; {events:,} events"


def _shard_row(watch: ShardWatch, nodes: Mapping[str, Node], state: str, now: float) -> dict[str, Any]:
    address = _address(watch)
    return {
        "shard": watch.shard,
        "state": state,
        "node": _node_name(watch, nodes) if watch.answer is not None else None,
        "url": f"http://{address}" if address is not None else None,
        "symbols": len(watch.symbol_ids),
        "takeovers": watch.takeovers,
        "takeover_seconds": None if watch.takeover_seconds is None else round(watch.takeover_seconds, 3),
        "takeover_stages": {stage: round(seconds, 3) for stage, seconds in watch.takeover_stages.items()},
        "since_seconds": round(now - watch.changed_at, 1),
    }


def _address(watch: ShardWatch) -> str | None:
    answer = watch.answer
    if answer is None or answer.port is None or answer.has_ended:
        return None
    return f"[{answer.host}]:{answer.port}" if ":" in answer.host else f"{answer.host}:{answer.port}"


def _node_name(watch: ShardWatch, nodes: Mapping[str, Node]) -> str:
    if watch.answer is None:
        return ""
    node = nodes.get(watch.answer.node)
    return node.name if node is not None else watch.answer.host


class ClusterMetrics:
    """The driver's own metrics; those of symbols are the shards' to show."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._nodes = Gauge("cowbook_nodes", "Nodes of the cluster that are alive", registry=self.registry)
        self._up = Gauge("cowbook_shard_up", "Whether a shard is there and ready", ["shard"], registry=self.registry)
        self._seconds = Gauge(
            "cowbook_takeover_seconds",
            "From a lost shard's last answer until it was ready again, last time",
            ["shard"],
            registry=self.registry,
        )
        self._takeovers = Counter(
            "cowbook_takeovers", "Times that a shard came up again without having been told to", ["shard"], registry=self.registry
        )
        self.moves = Counter("cowbook_moves", "Moves of symbols and shards to even out the load", registry=self.registry)
        self._counted: dict[str, int] = {}

    def refresh(self, shards: Sequence[ShardWatch], alive: Collection[str], now: float) -> None:
        """Show the shards as they are now."""
        self._nodes.set(len(alive))
        for gone in self._counted.keys() - {watch.shard for watch in shards}:
            del self._counted[gone]
            for family in (self._up, self._seconds, self._takeovers):
                family.remove(gone)
        for watch in shards:
            self._up.labels(watch.shard).set(is_ready(watch, alive, now))
            self._seconds.labels(watch.shard).set(float("nan") if watch.takeover_seconds is None else watch.takeover_seconds)
            self._takeovers.labels(watch.shard).inc(watch.takeovers - self._counted.get(watch.shard, 0))
            self._counted[watch.shard] = watch.takeovers
