"""Judges whether a diff continues the book, by update ids alone. The rule is a number, so that it can stand in a message.

Schemes: cowbook.plain.schemes. Sources: Binance, "How to manage a local order book correctly" (spot; USD-M and COIN-M futures).
"""

from __future__ import annotations

from cowbook.kernels.jit import inlined_kernel, kernel
from cowbook.plain.messages import NONE
from cowbook.plain.schemes import CHAIN, COUNTER, NEWEST_PER_LEVEL, RANGE, RISING, UNNUMBERED

# Verdicts.
APPLY = 0
STALE = 1
GAP = 2


@inlined_kernel
def shows_loss(rule):
    """Returns whether the ids of a scheme show that a message is missing."""
    return rule != UNNUMBERED and rule != RISING and rule != NEWEST_PER_LEVEL


@inlined_kernel
def may_count_anew(rule):
    """Returns whether a lower id with a later time means that the venue has begun to count anew."""
    return rule == COUNTER or rule == RISING


@kernel
def judge(rule, last, is_first, first_id, last_id, prev_id):
    """Judge a diff of the scheme `rule` after the depth message with id `last`. Returns (verdict, expected id, received id).

    The ids are NONE unless the verdict is GAP. `is_first` says that `last` was a depth snapshot. If `last` is NONE, any diff
    applies. A diff that is stale by NEWEST_PER_LEVEL may have levels that are not (book/newest.py).
    """
    if last == NONE or rule == UNNUMBERED:
        return APPLY, NONE, NONE
    if rule == CHAIN:
        if prev_id == last:
            return APPLY, NONE, NONE
        if last_id == last:
            return STALE, NONE, NONE
        return GAP, last, prev_id
    if rule == RISING or rule == NEWEST_PER_LEVEL:
        return APPLY if last_id > last else STALE, NONE, NONE
    if rule == RANGE or rule == COUNTER:
        if last_id <= last:
            return STALE, NONE, NONE
        if first_id <= last + 1:
            return APPLY, NONE, NONE
        return GAP, last + 1, first_id
    # RANGE_WITH_PREVIOUS, as in Binance's futures: `prev_id` is their `pu`. The first diff after a snapshot must cover its id.
    if last_id < last or (last_id == last and not is_first):
        return STALE, NONE, NONE
    if prev_id == last or (is_first and first_id <= last <= last_id):
        return APPLY, NONE, NONE
    return GAP, last, prev_id
