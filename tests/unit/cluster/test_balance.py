"""Shards are spread over nodes, and moved only where that is worth its pause."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowbook.cluster.balance import (
    ShardMove,
    Spent,
    SymbolMove,
    divide,
    measure_loads,
    part_of,
    plan_moves,
    spares_needed,
    spread,
    usual_count,
)
from cowbook.config import load_config
from support.fake_cluster import config_of

NODES = ["a", "b", "c"]


def test_each_symbol_is_in_one_part_and_empty_parts_are_left_out(tmp_path: Path) -> None:
    """The parts say which shard they are, and differ in nothing else."""
    names = [f"S{number}" for number in range(5)]
    symbols = [f'[[symbol]]\nname = "{name}"\nformat = "binance"\npaths = ["{name}"]\n' for name in names]
    (tmp_path / "cowbook.toml").write_text("".join(symbols))
    config = load_config(tmp_path / "cowbook.toml", {})
    parts = divide(config, 20)
    assert sorted(symbol.id for part in parts.values() for symbol in part.symbol) == names
    assert all(part.symbol and part.service.shard == shard for shard, part in parts.items())
    assert all(part.output == config.output for part in parts.values())


def test_a_symbol_that_is_in_a_shard_stays_there(tmp_path: Path) -> None:
    """Whatever its id says, and in the order of the configuration; one that is in none falls to that which its id says."""
    config = config_of(tmp_path, *"ABCDEF")
    home = divide(config, 2)
    other = "1/2" if "C" in [symbol.id for symbol in home["0/2"].symbol] else "0/2"
    parts = divide(config, 2, {"C": other})
    expected = [symbol.id for symbol in config.symbol if symbol.id == "C" or symbol in home[other].symbol]
    assert [symbol.id for symbol in parts[other].symbol] == expected
    assert parts[other] == part_of(config, other, expected)
    assert sorted(symbol.id for part in parts.values() for symbol in part.symbol) == [*"ABCDEF"]


@pytest.mark.parametrize(("nodes", "symbols", "count"), [(3, 100, 6), (3, 2, 2), (1, 1, 1)])
def test_there_are_some_shards_for_each_node(nodes: int, symbols: int, count: int) -> None:
    """Never more than symbols."""
    assert usual_count(nodes, symbols) == count


def test_shards_are_spread_evenly() -> None:
    """What is placed already counts, unless its node is gone."""
    chosen = spread(["0/6", "1/6", "2/6", "3/6"], {"4/6": "a", "5/6": "gone"}, NODES)
    assert sorted(chosen.values()) == ["a", "b", "b", "c"] or sorted(chosen.values()) == ["a", "b", "c", "c"]


@pytest.mark.parametrize(
    ("shards", "nodes", "count"),
    [
        pytest.param("aabbcc", "abc", 1, id="two of a node go to one each"),
        pytest.param("aabb", "ab", 2, id="both go to the only other one"),
        pytest.param("aaaabc", "abc", 2, id="the node with the most counts"),
        pytest.param("aaa", "a", 1, id="where there is no other node its processes may end"),
        pytest.param("", "abc", 0, id="nothing is started again"),
        pytest.param("xx", "", 0, id="no node is there"),
    ],
)
def test_spare_processes_take_all_shards_of_any_node(shards: str, nodes: str, count: int) -> None:
    """At once, when the other nodes share them."""
    assert spares_needed({str(number): node for number, node in enumerate(shards)}, [*nodes]) == count


def test_load_is_processor_time_between_two_looks_of_one_process_by_messages() -> None:
    """A new process begins at 0: what it has used before the last look is not known. A symbol may have come from another one."""
    before = {"0": Spent("a", 10.0, {"A": 100, "B": 100}), "1": Spent("b", 10.0, {"C": 50})}
    after = {"0": Spent("a", 25.0, {"A": 108, "C": 55}), "1": Spent("c", 5.0, {"B": 1}), "2": Spent("d", 5.0, {"D": 1})}
    assert measure_loads(before, after, 30.0) == {"0": {"A": pytest.approx(0.3), "C": pytest.approx(0.2)}}


def test_a_symbol_that_stands_at_its_checkpoint_again_has_no_less_than_no_messages() -> None:
    """Its count went down."""
    before, after = {"0": Spent("a", 0.0, {"A": 100, "B": 0})}, {"0": Spent("a", 1.0, {"A": 50, "B": 1})}
    assert measure_loads(before, after, 1.0) == {"0": {"A": pytest.approx(1 / 3), "B": pytest.approx(2 / 3)}}


def test_a_node_without_shards_gets_the_lightest_one_that_helps() -> None:
    """One that gains less than a fifth stays."""
    loads = {"0": {"A": 0.05}, "1": {"B": 0.1, "C": 0.2}, "2": {"D": 0.5}, "3": {"E": 0.1}}
    placed = {"0": "a", "1": "a", "2": "a", "3": "b"}
    assert plan_moves(loads, placed, NODES) == [ShardMove("1", "c")]


def test_symbols_go_to_the_lightest_shard_of_the_idlest_node_until_load_is_even() -> None:
    """First the one that evens it out best. With `whole` a shard goes instead."""
    loads = {"0": {"A": 0.5, "B": 0.4, "C": 0.1}, "1": {"D": 0.05}, "2": {"E": 0.01}}
    placed = {"0": "a", "1": "b", "2": "b"}
    assert plan_moves(loads, placed, ["a", "b"]) == [SymbolMove("A", "0", "2")]
    loads["1"]["D"] = 0.3
    assert plan_moves(loads, placed, ["a", "b"]) == [SymbolMove("B", "0", "2")]
    assert plan_moves({"0": {"A": 0.5}, "1": {"B": 0.5}, "2": {}}, {"0": "a", "1": "a", "2": "b"}, ["a", "b"], whole=True) == [
        ShardMove("0", "b")
    ]


@pytest.mark.parametrize(
    ("loads", "placed"),
    [
        pytest.param({"0": {"A": 0.5}, "1": {"B": 0.4}}, {"0": "a", "1": "b"}, id="even"),
        pytest.param({"0": {"A": 0.9}, "1": {}}, {"0": "a", "1": "b"}, id="one heavy symbol, which would be as heavy elsewhere"),
        pytest.param({"0": {"A": 0.9, "B": 0.01}, "1": {}}, {"0": "a", "1": "b"}, id="what may go is too light"),
        pytest.param({"0": {"A": 0.9}}, {"0": "a"}, id="one heavy shard"),
        pytest.param({"0": {"A": 0.01}, "1": {"B": 0.02}}, {"0": "a", "1": "a"}, id="idle"),
        pytest.param({}, {}, id="nothing"),
    ],
)
def test_nothing_moves_where_nothing_is_gained(loads: dict[str, dict[str, float]], placed: dict[str, str]) -> None:
    """A move is a pause."""
    assert plan_moves(loads, placed, ["a", "b"]) == []
    assert plan_moves(loads, placed, ["a"]) == []


_SHARD = st.tuples(st.lists(st.floats(0, 4), max_size=6), st.sampled_from(NODES))


@given(st.lists(_SHARD, max_size=8), st.booleans())
def test_moves_come_to_an_end_and_each_plan_lowers_the_load_of_the_busiest(
    shards: list[tuple[list[float], str]], whole: bool
) -> None:
    """Applied again and again to the same loads. No plan moves a symbol twice, and none loses one."""
    loads = {
        str(number): {f"{number}-{place}": load for place, load in enumerate(symbols)}
        for number, (symbols, _) in enumerate(shards)
    }
    placed = {str(number): node for number, (_, node) in enumerate(shards)}
    everything = sorted(symbol for symbols in loads.values() for symbol in symbols)

    def highest() -> float:
        return max(sum(sum(loads[shard].values()) for shard, where in placed.items() if where == node) for node in NODES)

    for _ in range(100):
        moves = plan_moves(loads, placed, NODES, whole=whole)
        if not moves:
            return
        before, moved = highest(), set()
        for move in moves:
            if isinstance(move, ShardMove):
                placed[move.shard] = move.node
            else:
                assert move.symbol not in moved
                moved.add(move.symbol)
                loads[move.taker][move.symbol] = loads[move.giver].pop(move.symbol)
        assert highest() <= before + 1e-9
        assert sorted(symbol for symbols in loads.values() for symbol in symbols) == everything
    pytest.fail("something moves for ever")
