"""What came lately, so that what comes twice counts once: a log of keys with a hash table of the same keys.

The table is open addressing with linear probing, and no key is 0 (NO_KEY). Ids of trades are nearly consecutive, so eight
neighbours in time are neighbours in memory, and the eights are scattered: one run of all keys would be walked to its end at each
removal.
"""

from __future__ import annotations

from cowbook.kernels.jit import inlined_kernel, kernel
from cowbook.plain.book_state import PLACES, RECENT_MESSAGES, RECENT_TRADES
from cowbook.plain.messages import HAS_CHECKSUM, IS_AGGREGATE, NONE

TRADES_RANGE = (PLACES["trade_start"], PLACES["trade_end"], RECENT_TRADES)
MESSAGES_RANGE = (PLACES["recent_start"], PLACES["recent_end"], RECENT_MESSAGES)
"""Places of a log's range among the state's words, and how many keys it holds."""

NO_KEY = 0

_STRIDE = 10_125  # 2^14, the eights of the table of trades, times the golden ratio, odd
_MULTIPLIER = -7046029254386353131  # 2^64 divided by the golden ratio, odd (Knuth, section 6.4)


@inlined_kernel
def trade_key(trade_id, flags):
    """Returns the key of a trade: aggregates have ids of their own."""
    return ~trade_id if flags & IS_AGGREGATE != 0 else trade_id + 1


@inlined_kernel
def message_key(message, levels):
    """Returns the key of a depth message: of its time, kind, levels and checksum. Different ones share a key once in 2^64."""
    key = (message.ts_event ^ message.kind) * _MULTIPLIER
    if message.flags & HAS_CHECKSUM != 0:
        key ^= message.checksum + 1
    for part in range(2):
        start = message.bid_start if part == 0 else message.ask_start
        count = message.bid_count if part == 0 else message.ask_count
        key = (key ^ count) * _MULTIPLIER
        key ^= (key >> 29) & 0x7FFFFFFFF
        for level in range(start, start + count):
            key = (key ^ levels.prices[level]) * _MULTIPLIER
            key ^= (key >> 29) & 0x7FFFFFFFF
            key = (key ^ levels.sizes[level]) * _MULTIPLIER
            key ^= (key >> 29) & 0x7FFFFFFFF
    return key if key != 0 else 1


@inlined_kernel
def _home(key, mask):
    """Returns where a key should stand. Eights in a row lie a golden ratio of the table apart (Knuth, section 6.4)."""
    eights = mask >> 3
    eight = ((((key >> 3) ^ (key >> 20)) & eights) * _STRIDE) & eights
    return (eight << 3) | (key & 7)


@inlined_kernel
def has(table, key):
    """Returns whether the table has the key."""
    mask = table.size - 1
    place = _home(key, mask)
    while table[place] != 0:
        if table[place] == key:
            return True
        place = (place + 1) & mask
    return False


@inlined_kernel
def insert(table, key):
    """Put a key that the table does not have into it."""
    mask = table.size - 1
    place = _home(key, mask)
    while table[place] != 0:
        place = (place + 1) & mask
    table[place] = key


@kernel
def fill(table, keys):
    """Put all keys into an empty table."""
    for place in range(keys.size):
        insert(table, keys[place])


@kernel
def _remove(table, key):
    """Remove a key, and move those behind it that could otherwise not be found (Knuth, section 6.4, algorithm R)."""
    mask = table.size - 1
    place = _home(key, mask)
    while table[place] != key:
        place = (place + 1) & mask
    hole = place
    while True:
        place = (place + 1) & mask
        moved = table[place]
        if moved == 0:
            break
        # It may move into the hole unless its home lies cyclically between the hole and its place.
        if ((place - _home(moved, mask)) & mask) >= ((place - hole) & mask):
            table[hole] = moved
            hole = place
    table[hole] = 0


@kernel
def remember(words, log, table, places, key):
    """Remember a key that is not in the table, and forget the oldest one if there are too many."""
    insert(table, key)
    log[words[places[1]]] = key
    words[places[1]] += 1
    if words[places[1]] - words[places[0]] > places[2]:
        _remove(table, log[words[places[0]]])
        words[places[0]] += 1


@inlined_kernel
def _may_repeat(message):
    """Returns whether only its content can tell that a message comes again: by a time of the venue's own.

    Where the connection numbers its records, these numbers tell it, and equal messages with other numbers are two.
    """
    return message.ts_event != NONE and message.ts_event != message.ts_recv and message.sequence == 0


@kernel
def repetition_key(message, levels):
    """Returns the key by which an unnumbered depth message that comes a second time is found; NO_KEY if nothing can tell it."""
    return message_key(message, levels) if _may_repeat(message) else NO_KEY


@inlined_kernel
def is_repetition(engine, key):
    """Returns whether an unnumbered depth message comes a second time, with the same venue's time and levels. Counts it then."""
    if key == NO_KEY or not has(engine.seen.recent, key):
        return False
    engine.state[0].duplicate_messages += 1
    return True


@kernel
def remember_message(engine, key):
    """Remember an unnumbered depth message that is applied, unless one with its key is remembered."""
    if key != NO_KEY and not has(engine.seen.recent, key):
        remember(engine.words, engine.logs.recent, engine.seen.recent, MESSAGES_RANGE, key)
