"""Where symbols and shards run: spread at first, then moved by the load that was measured. Pure, and told everything."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from cowbook.cluster.nodes import Answer
from cowbook.config import Config
from cowbook.plain.shards import parse_shard

_UNEVEN = 1.5
"""A node with this many times the mean load gives something away."""
_LEAST_GAIN = 0.2
"""Moves that lower the highest load by less are not worth their pauses."""
_IDLE_CORES = 0.1
"""Below this load there is nothing to gain."""
_EVEN = 1.1
"""Symbols go until no node has more than this many times the mean load."""
_MOST_SYMBOLS = 100
"""In one plan: then it is time to measure again."""
SHARDS_PER_NODE = 2

Loads = Mapping[str, Mapping[str, float]]
"""Cores by shard and symbol."""


@dataclass(frozen=True, slots=True)
class ShardMove:
    """A shard whose process is to run on another node."""

    shard: str
    node: str


@dataclass(frozen=True, slots=True)
class SymbolMove:
    """A symbol that is to go over from one shard to another one."""

    symbol: str
    giver: str
    taker: str


@dataclass(frozen=True, slots=True)
class Spent:
    """What a shard's process has done so far."""

    instance: str
    cpu_seconds: float
    messages: Mapping[str, int]
    """By symbol."""

    @classmethod
    def of(cls, answer: Answer) -> Spent:
        """Returns what an answer tells of that."""
        messages = {symbol["id"]: symbol["messages"] or 0 for symbol in answer.status["symbols"]}
        return cls(answer.instance, answer.cpu_seconds, messages)


def divide(config: Config, count: int, placed: Mapping[str, str] = MappingProxyType({})) -> dict[str, Config]:
    """Returns each shard's part of a configuration, by shard. Shards without symbols are left out.

    `placed` has the shards of symbols that are in one already. The others fall to that which their ids say.
    """
    shards = {}
    for index in range(count):
        name = f"{index}/{count}"
        own = parse_shard(name)
        part = part_of(
            config, name, [one.id for one in config.symbol if placed.get(one.id, name if own.has(one.id) else "") == name]
        )
        if part.symbol:
            shards[name] = part
    return shards


def part_of(config: Config, shard: str, ids: Collection[str]) -> Config:
    """Returns the configuration of a shard that has these symbols."""
    symbols = tuple(symbol for symbol in config.symbol if symbol.id in ids)
    return config.model_copy(update={"service": config.service.model_copy(update={"shard": shard}), "symbol": symbols})


def usual_count(nodes: int, symbols: int) -> int:
    """Returns how many shards to make where nobody says it: some for each node, so that a node that comes later gets one."""
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


def spares_needed(placed: Mapping[str, str], nodes: Sequence[str]) -> int:
    """Returns how many processes must wait on each node, so that any one node may die: its shards then go to all others."""
    most = max(([*placed.values()].count(node) for node in nodes), default=0)
    return -(-most // max(1, len(nodes) - 1)) if len(nodes) > 1 else min(1, most)


def measure_loads(before: Mapping[str, Spent], after: Mapping[str, Spent], seconds: float) -> dict[str, dict[str, float]]:
    """Returns the cores that each shard has used between two looks, which are `seconds` apart, by its symbols.

    Only a process that is in both looks has a load. Its symbols have shares of it by their rates of messages, since each
    message wakes a thread, and that costs more than its events do. They may have been in another shard at first.
    """
    first: dict[str, int] = {}
    for spent in before.values():
        first |= spent.messages
    loads = {}
    for shard, spent in after.items():
        if shard not in before or before[shard].instance != spent.instance:
            continue
        cores = (spent.cpu_seconds - before[shard].cpu_seconds) / seconds
        # One more for each, since one without messages costs something, too. Fewer than before: it stands at its checkpoint.
        weights = {symbol: 1 + max(0, count - first.get(symbol, count)) for symbol, count in spent.messages.items()}
        total = sum(weights.values())
        loads[shard] = {symbol: cores * weight / total for symbol, weight in weights.items()}
    return loads


@dataclass
class _Layout:
    """Loads on nodes, as they are and as moves would make them."""

    loads: dict[str, dict[str, float]]
    placed: dict[str, str]
    nodes: Sequence[str]
    moved: set[str] = field(default_factory=set)

    def total(self, node: str) -> float:
        return sum(self.shard_total(shard) for shard in self.shards_on(node))

    def shard_total(self, shard: str) -> float:
        return sum(self.loads.get(shard, {}).values())

    def shards_on(self, node: str) -> list[str]:
        return [shard for shard, where in self.placed.items() if where == node]

    @property
    def busiest(self) -> str:
        return max(self.nodes, key=self.total)

    @property
    def idlest(self) -> str:
        return min(self.nodes, key=self.total)

    @property
    def mean(self) -> float:
        return sum(self.total(node) for node in self.nodes) / len(self.nodes)


def plan_moves(
    loads: Loads, placed: Mapping[str, str], nodes: Sequence[str], *, whole: bool = False
) -> list[ShardMove | SymbolMove]:
    """Returns the moves that even out load, in their order; none where that is not worth their pauses.

    `placed` are nodes by shard. Symbols go from the busiest node to shards of the idlest one. Where that has no shard, it gets
    one, and nothing else moves before loads are measured again. With `whole` only shards move.
    """
    if len(nodes) < 2:
        return []
    layout = _Layout({shard: dict(symbols) for shard, symbols in loads.items()}, dict(placed), nodes)
    highest = layout.total(layout.busiest)
    if highest < max(_IDLE_CORES, _UNEVEN * layout.mean):
        return []
    if whole or not layout.shards_on(layout.idlest):
        move = _plan_shard(layout)
        return [move] if move is not None else []
    moves: list[ShardMove | SymbolMove] = []
    while len(moves) < _MOST_SYMBOLS and layout.total(layout.busiest) > _EVEN * layout.mean:
        chosen = _plan_symbol(layout)
        if chosen is None:
            break
        layout.loads[chosen.taker][chosen.symbol] = layout.loads[chosen.giver].pop(chosen.symbol)
        layout.moved.add(chosen.symbol)
        moves.append(chosen)
    return moves if layout.total(layout.busiest) <= (1 - _LEAST_GAIN) * highest else []


def _plan_shard(layout: _Layout) -> ShardMove | None:
    """Returns the move of the busiest node's lightest shard that lowers the highest load of the two nodes enough."""
    busiest, idlest = layout.busiest, layout.idlest
    highest = layout.total(busiest)
    for load, shard in sorted((layout.shard_total(shard), shard) for shard in layout.shards_on(busiest)):
        if max(highest - load, layout.total(idlest) + load) <= (1 - _LEAST_GAIN) * highest:
            return ShardMove(shard, idlest)
    return None


def _plan_symbol(layout: _Layout) -> SymbolMove | None:
    """Returns the move that evens out the busiest and the idlest node best, to the lightest shard there."""
    gap = layout.total(layout.busiest) - layout.total(layout.idlest)
    takers = layout.shards_on(layout.idlest)
    candidates = [
        (abs(load - gap / 2), symbol, giver)
        for giver in layout.shards_on(layout.busiest)
        for symbol, load in layout.loads.get(giver, {}).items()
        if 0 < load < gap and symbol not in layout.moved
    ]
    if not candidates or not takers:
        return None
    _, symbol, giver = min(candidates)
    return SymbolMove(symbol, giver, min(takers, key=layout.shard_total))
