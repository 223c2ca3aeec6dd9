"""Which venues a crash campaign takes."""

from __future__ import annotations

from support.campaigns import in_turn


def test_seeds_that_follow_each_other_take_every_name() -> None:
    """None is left out, and none is taken again before all were."""
    names = [str(number) for number in range(47)]
    taken = [name for seed in range(12) for name in in_turn(names, seed, 4)]
    assert taken[:47] == names
    assert in_turn(names, 100_003, 4) == in_turn(names, 100_003 % 47, 4)
