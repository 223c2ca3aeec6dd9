"""Features of books at the edges of what a book can be."""

from __future__ import annotations

from random import Random

import pytest

from cowbook.book.block_pool import BLOCK_WORDS, FIRST_BLOCK, KEY, NO_KEY, NO_SUM, sum_place
from support.generated_captures import Capture
from support.oracle import OracleSettings
from support.oracle_pipeline import Pipeline, compare


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("bid", "ask"), [("0", "0"), ("0", "1"), ("0.00000001", "0.00000001"), ("99999999", "99999999")])
def test_a_book_of_any_prices_has_features(bid: str, ask: str) -> None:
    """A book without any price but zero has no tick; what lies within a distance of the mid is found nevertheless."""
    lines = [f'{{"lastUpdateId":1,"bids":[["{bid}","1"]],"asks":[["{ask}","1"]]}}']
    for number in range(2, 5):
        time = (1_723_161_600 + number) * 1000
        lines.append(
            f'{{"e":"depthUpdate","E":{time},"s":"BTCUSDT","U":{number},"u":{number},"b":[["{bid}","{number}"]],"a":[]}}'
        )
    settings = OracleSettings(streams=("features",))
    pipeline = Pipeline(settings)
    compare(pipeline, Capture(["\n".join(lines).encode() + b"\n"], settings), 1 << 20)
    assert sum(len(cut.rows["features"]) for cut in pipeline.cuts) == 2


def _diff(number: int, bids: str, asks: str) -> str:
    time = 1_723_161_600_000 + 250 * number  # a row behind each four
    return f'{{"e":"depthUpdate","E":{time},"s":"BTCUSDT","U":{number},"u":{number},"b":[{bids}],"a":[{asks}]}}'


@pytest.mark.parametrize("seed", range(3))
def test_changes_beyond_the_looked_at_levels_have_no_flow(seed: int) -> None:
    """Diffs of single levels around the fifth best one, and far beyond it; sides that become short, and empty."""
    random = Random(seed)
    print(f"seed {seed}")
    lines = []
    if seed:
        levels = ('["100","1"],["99","2"],["98","1"],["97","1"],["96","1"],["90","1"]', '["101","1"],["102","1"],["103","1"]')
        lines.append(f'{{"lastUpdateId":1,"bids":[{levels[0]}],"asks":[{levels[1]}]}}')
    for number in range(2, 400):
        size = random.choice((0, 0, random.randint(1, 9)))
        if number == 300:
            lines.append(_diff(number + 5, f'["96","{size}"]', ""))  # a gap: nothing is known any more
        elif random.random() < 0.5:
            lines.append(_diff(number + 5 * (number > 300), f'["{100 - random.randrange(12)}","{size}"]', ""))
        else:
            lines.append(_diff(number + 5 * (number > 300), "", f'["{101 + random.randrange(12)}","{size}"]'))
    settings = OracleSettings(streams=("features",))
    pipeline = Pipeline(settings)
    compare(pipeline, Capture([line.encode() + b"\n" for line in lines], settings), 1 << 20)
    assert sum(len(cut.rows["features"]) for cut in pipeline.cuts) > 90


def _sums(pipeline: Pipeline) -> list[int]:
    """The sums of leaves of the live book."""
    pool, _, blocks = pipeline.engine.arrays.book
    leaves = range(FIRST_BLOCK, int(pool["fresh"][0]), BLOCK_WORDS)
    return [int(blocks[sum_place(blocks, leaf)]) for leaf in leaves if blocks[leaf + KEY] != NO_KEY]


def test_sums_that_leaves_keep_are_those_of_their_sizes() -> None:
    """Leaves change, lose levels, come and go between rows, and one has a size so large that its sum is not kept."""
    random = Random(7)
    prices = [f"{6_000_000 + tick}" for tick in range(0, 640, 4)]
    bids = ",".join(f'["{price}","1"]' for price in prices)
    asks = ",".join(f'["{int(price) + 641}","1"]' for price in prices)
    lines = [f'{{"lastUpdateId":1,"bids":[{bids}],"asks":[{asks}]}}']
    for number in range(2, 300):
        size = 9_999_999_999 if number == 100 else random.choice((0, random.randint(1, 9)))  # that one with others is too large
        price = int(random.choice(prices)) if random.random() < 0.8 else 6_000_064 + 4 * random.randrange(16)
        is_bid = number % 2 == 1
        level = f'["{price if is_bid else price + 641}","{size}"]'
        lines.append(_diff(number, level if is_bid else "", "" if is_bid else level))
    settings = OracleSettings(streams=("features",))
    pipeline = Pipeline(settings)
    compare(pipeline, Capture([line.encode() + b"\n" for line in lines], settings), 1 << 20)
    sums = _sums(pipeline)
    assert NO_SUM in sums
    assert any(total > 0 for total in sums)
