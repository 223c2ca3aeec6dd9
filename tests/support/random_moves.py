"""`cowbook`, whose driver moves any symbol to any other shard at each interval, whatever the load. The seed is a variable."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Mapping, Sequence
from unittest import mock

from cowbook.cli.main import main
from cowbook.cluster import driver
from cowbook.cluster.balance import Loads, ShardMove, SymbolMove

SEED = "COWBOOK_TEST_SEED_OF_MOVES"
_chosen = random.Random(int(os.environ.get(SEED, "0")))


def plan(loads: Loads, placed: Mapping[str, str], _nodes: Sequence[str], *, whole: bool = False) -> list[ShardMove | SymbolMove]:
    """Returns one move."""
    candidates = [(symbol, shard) for shard, symbols in loads.items() for symbol in symbols]
    if whole or not candidates:
        return []
    symbol, giver = _chosen.choice(candidates)
    return [SymbolMove(symbol, giver, _chosen.choice([shard for shard in placed if shard != giver]))]


if __name__ == "__main__":
    with mock.patch.object(driver, "plan_moves", plan):
        sys.exit(main(sys.argv[1:]))
