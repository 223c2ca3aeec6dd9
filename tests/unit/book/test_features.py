"""Features of books at the edges of what a book can be."""

from __future__ import annotations

import pytest

from support.generated_captures import Capture
from support.oracle import OracleSettings
from support.oracle_pipeline import Pipeline, compare


@pytest.mark.timeout(60)
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
