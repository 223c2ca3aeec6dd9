"""Where shards run: spread at first, then moved by the load that was measured. Pure, and told everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cowbook.config import Config

_UNEVEN = 1.5
"""A node with this many times the mean load gives a shard away."""
_LEAST_GAIN = 0.2
"""A move that lowers the highest load by less is not worth its pause."""
_IDLE_CORES = 0.1
"""Below this load there is nothing to gain."""
SHARDS_PER_NODE = 2


@dataclass(frozen=True, slots=True)
class Move:
    """A shard that is to run on another node."""

    shard: str
    node: str


def divide(config: Config, count: int) -> dict[str, Config]:
    """Returns each shard's part of a configuration, by shard. Shards without symbols are left out."""
    shards = {}
    for index in range(count):
        name = f"{index}/{count}"
        service = config.service.model_copy(update={"shard": name})
        part = config.model_copy(update={"service": service}).of_shard()
        if part.symbol:
            shards[name] = part
    return shards


def usual_count(nodes: int, symbols: int) -> int:
    """Returns how many shards to make where nobody says it: some for each node, so that load can be moved."""
    return max(1, min(SHARDS_PER_NODE * nodes, symbols))


def spread(shards: Sequence[str], placed: Mapping[str, str], nodes: Sequence[str]) -> dict[str, str]:
    """Returns a node for each of `shards`: the one with the fewest, those in `placed` (a node by shard) counted."""
    counts = dict.fromkeys(nodes, 0)
    for node in placed.values():
        if node in counts:
            counts[node] += 1
    chosen = {}
    for shard in shards:
        node = min(nodes, key=lambda node: counts[node])
        counts[node] += 1
        chosen[shard] = node
    return chosen


def measure_loads(
    before: Mapping[str, tuple[str, float]], after: Mapping[str, tuple[str, float]], seconds: float
) -> dict[str, float]:
    """Returns the cores that each shard has used between two looks, which are `seconds` apart.

    A look has the process, by a name of its own, and its processor time so far. Only a process that is in both has a load.
    """
    return {
        shard: (spent - before[shard][1]) / seconds
        for shard, (instance, spent) in after.items()
        if shard in before and before[shard][0] == instance
    }


def plan_move(loads: Mapping[str, float], placed: Mapping[str, str], nodes: Sequence[str]) -> Move | None:
    """Returns the move that evens out load best for the least that is moved; None where none is worth it.

    `loads` are cores by shard, `placed` nodes by shard. Of the shards of the busiest node the lightest one goes that lowers the
    highest load of the two nodes by a fifth.
    """
    if len(nodes) < 2:
        return None
    totals = dict.fromkeys(nodes, 0.0)
    for shard, node in placed.items():
        if node in totals:
            totals[node] += loads.get(shard, 0.0)
    busiest, idlest = max(nodes, key=lambda node: totals[node]), min(nodes, key=lambda node: totals[node])
    mean = sum(totals.values()) / len(nodes)
    if totals[busiest] < max(_IDLE_CORES, _UNEVEN * mean):
        return None
    for load, shard in sorted((loads.get(shard, 0.0), shard) for shard, node in placed.items() if node == busiest):
        highest = max(totals[busiest] - load, totals[idlest] + load)
        if highest <= (1 - _LEAST_GAIN) * totals[busiest]:
            return Move(shard, idlest)
    return None
