"""Levels that keep their own newest ids: a diff that comes late changes only what nothing newer has changed.

docs/rules.md, section 4. The ids are in the log of the book's own diffs, where those of other schemes have sizes. The log has the
newest snapshot, as long as not too many diffs came behind it, and these.
"""

from __future__ import annotations

from cowbook.book.kept import OWN, append, forget, own_log
from cowbook.kernels.jit import inlined_kernel, rare_kernel
from cowbook.plain.book_state import WAITING_LIMIT
from cowbook.plain.messages import HAS_LEVEL_IDS, NONE


@inlined_kernel
def note_diff(engine, message, levels):
    """Note the ids of an applied diff's levels."""
    log = own_log(engine.logs)
    append(engine.words, log, OWN, message, levels)
    _set_ids(engine.words, log, message)


@inlined_kernel
def _set_ids(words, log, message):
    entry = log.entries[words[OWN[1]] - 1]
    for level in range(entry.level_start, entry.level_start + entry.bid_count + entry.ask_count):
        log.levels.sizes[level] = message.last_id


@rare_kernel
def note_snapshot(engine, message, levels):
    """Note the ids of a snapshot's levels. Without ids of their own all have the snapshot's."""
    words, log = engine.words, own_log(engine.logs)
    forget(words, OWN)
    append(words, log, OWN, message, levels)
    _set_ids(words, log, message)
    if message.flags & HAS_LEVEL_IDS == 0:
        return
    place = log.entries[words[OWN[1]] - 1].level_start
    first = message.ask_start + message.ask_count
    for level in range(message.bid_count + message.ask_count):
        log.levels.sizes[place + level] = levels.prices[first + level]


@rare_kernel
def _newest_id(words, log, is_ask, price, least):
    """Returns the newest id of a level, NONE if it is below `least`."""
    newest = NONE
    for number in range(words[OWN[0]], words[OWN[1]]):
        entry = log.entries[number]
        if entry.last_id < least:
            continue
        middle = entry.level_start + entry.bid_count
        first, end = (middle, middle + entry.ask_count) if is_ask else (entry.level_start, middle)
        for level in range(first, end):
            if log.levels.prices[level] == price:
                newest = max(newest, log.levels.sizes[level])
    return newest if newest >= least else NONE


@rare_kernel
def _drop_older(words, log, message, levels, is_ask):
    """Drop the levels of a side that something as new or newer has changed. Returns how many are left."""
    first, count = (message.ask_start, message.ask_count) if is_ask else (message.bid_start, message.bid_count)
    left = 0
    for level in range(first, first + count):
        if _newest_id(words, log, is_ask, levels.prices[level], message.last_id) != NONE:
            continue
        levels.prices[first + left] = levels.prices[level]
        levels.sizes[first + left] = levels.sizes[level]
        left += 1
    return left


@rare_kernel
def drop_older_levels(engine, message, levels):
    """Drop a late diff's levels that are older than the book's. Returns whether any are left.

    One that is older than all that is remembered cannot be judged, and has none left.
    """
    words, log = engine.words, own_log(engine.logs)
    start, end = words[OWN[0]], words[OWN[1]]
    if end - start >= WAITING_LIMIT and message.last_id < log.entries[start].last_id:
        return False
    message.bid_count = _drop_older(words, log, message, levels, False)
    message.ask_count = _drop_older(words, log, message, levels, True)
    return message.bid_count + message.ask_count > 0
