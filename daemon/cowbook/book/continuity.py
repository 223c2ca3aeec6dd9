"""Whether a diff continues the book: rules as data, in terms of update ids alone.

Sources: Binance, "How to manage a local order book correctly" (spot; USD-M and COIN-M futures).
"""

from __future__ import annotations

import numpy as np

from cowbook.bits import kernel
from cowbook.event_batch import NONE
from cowbook.venues import BINANCE_FUTURES, BINANCE_SPOT

# Verdicts.
APPLY = 0
STALE = 1
GAP = 2

# Schemes: what the ids of a message say about the one before it.
RANGE = 0  # first_id..last_id are dense over messages
RANGE_WITH_PREVIOUS = 1  # prev_id names the message before; ranges are not dense

_SCHEMES = {BINANCE_SPOT: RANGE, BINANCE_FUTURES: RANGE_WITH_PREVIOUS}
SCHEME_OF_RULE = np.array([_SCHEMES[rule] for rule in range(len(_SCHEMES))], np.int64)
"""Scheme of each rule of `cowbook.venues`."""


@kernel
def judge(rule, last, is_first, first_id, last_id, prev_id):
    """(verdict, expected id, received id) of a diff after the depth message `last`.

    `is_first` says that `last` was a depth snapshot. Without a `last` (NONE) anything applies.
    """
    if last == NONE:
        return APPLY, NONE, NONE
    if SCHEME_OF_RULE[rule] == RANGE:
        if last_id <= last:
            return STALE, NONE, NONE
        if first_id <= last + 1:
            return APPLY, NONE, NONE
        return GAP, last + 1, first_id
    if last_id < last or (last_id == last and not is_first):
        return STALE, NONE, NONE
    if prev_id == last or (is_first and first_id <= last <= last_id):
        return APPLY, NONE, NONE
    return GAP, last, prev_id
