"""Every symbol is in exactly one shard, and one shard more moves few."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowbook.plain.shards import Shard, parse_shard, shard_of

IDS = [f"SYMBOL{number}" for number in range(3000)]


@given(st.text(), st.integers(1, 50))
def test_each_symbol_is_in_one_shard(symbol_id: str, count: int) -> None:
    """Whatever its id is."""
    assert sum(Shard(index, count).has(symbol_id) for index in range(count)) == 1


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_one_shard_more_takes_its_share_and_moves_nothing_else(count: int) -> None:
    """Of 3,000 symbols, 1 / (count + 1) fall to the new shard, within five standard deviations."""
    moved = [symbol for symbol in IDS if shard_of(symbol, count) != shard_of(symbol, count + 1)]
    assert all(shard_of(symbol, count + 1) == count for symbol in moved)
    share = 1 / (count + 1)
    assert abs(len(moved) - len(IDS) * share) < 5 * (len(IDS) * share * (1 - share)) ** 0.5


def test_a_symbol_stays_in_its_shard_for_ever() -> None:
    """Another release must not move symbols: state would be looked for elsewhere."""
    assert [shard_of(symbol, 5) for symbol in ("BTCUSDT", "ETHUSDT", "XBT/USD", "é")] == [4, 1, 1, 0]


@pytest.mark.parametrize("text", ["", "1", "4/4", "-1/4", "0/0", "1/4 ", "a/b", "0/10001", "¹/4", "0/4/2"])
def test_what_is_no_shard(text: str) -> None:
    """The first is 0, the last one below the count."""
    with pytest.raises(ValueError, match="must be I/N"):
        parse_shard(text)


def test_a_shard_is_written_as_it_is_read() -> None:
    """Zeros in front make no difference."""
    assert str(parse_shard("03/10")) == "3/10"
