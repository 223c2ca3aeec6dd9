"""Shards are spread over nodes, and moved only where that is worth its pause."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowbook.cluster.balance import Move, divide, measure_loads, plan_move, spread, usual_count
from cowbook.config import load_config

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


@pytest.mark.parametrize(("nodes", "symbols", "count"), [(3, 100, 6), (3, 2, 2), (1, 1, 1)])
def test_there_are_some_shards_for_each_node(nodes: int, symbols: int, count: int) -> None:
    """Never more than symbols."""
    assert usual_count(nodes, symbols) == count


def test_shards_are_spread_evenly() -> None:
    """What is placed already counts, unless its node is gone."""
    chosen = spread(["0/6", "1/6", "2/6", "3/6"], {"4/6": "a", "5/6": "gone"}, NODES)
    assert sorted(chosen.values()) == ["a", "b", "b", "c"] or sorted(chosen.values()) == ["a", "b", "c", "c"]


def test_load_is_processor_time_between_two_looks_of_one_process() -> None:
    """A new process begins at 0: what it has used before the last look is not known."""
    before, after = {"0/3": ("a", 10.0), "1/3": ("b", 10.0)}, {"0/3": ("a", 25.0), "1/3": ("c", 5.0), "2/3": ("d", 5.0)}
    assert measure_loads(before, after, 30.0) == {"0/3": 0.5}


def test_the_lightest_shard_that_helps_moves_to_the_idlest_node() -> None:
    """One that gains less than a fifth stays."""
    loads = {"0": 0.05, "1": 0.3, "2": 0.5, "3": 0.1}
    placed = {"0": "a", "1": "a", "2": "a", "3": "b"}
    assert plan_move(loads, placed, NODES) == Move("1", "c")


@pytest.mark.parametrize(
    ("loads", "placed"),
    [
        pytest.param({"0": 0.5, "1": 0.4}, {"0": "a", "1": "b"}, id="even"),
        pytest.param({"0": 0.9}, {"0": "a"}, id="one heavy shard, which would be as heavy elsewhere"),
        pytest.param({"0": 0.01, "1": 0.02}, {"0": "a", "1": "a"}, id="idle"),
        pytest.param({}, {}, id="nothing"),
    ],
)
def test_nothing_moves_where_nothing_is_gained(loads: dict[str, float], placed: dict[str, str]) -> None:
    """A move is a pause."""
    assert plan_move(loads, placed, ["a", "b"]) is None
    assert plan_move(loads, placed, ["a"]) is None


@given(st.lists(st.tuples(st.floats(0, 4), st.sampled_from(NODES)), max_size=12))
def test_moves_come_to_an_end_and_each_one_lowers_the_load_of_the_busiest(shards: list[tuple[float, str]]) -> None:
    """Applied again and again to the same loads."""
    loads = {str(number): load for number, (load, _) in enumerate(shards)}
    placed = {str(number): node for number, (_, node) in enumerate(shards)}

    def total(node: str) -> float:
        return sum(loads[shard] for shard, where in placed.items() if where == node)

    for _ in range(100):
        move = plan_move(loads, placed, NODES)
        if move is None:
            return
        giver = placed[move.shard]
        before = total(giver)
        placed[move.shard] = move.node
        assert max(total(giver), total(move.node)) <= 0.8 * before + 1e-9
    pytest.fail("shards move for ever")
