"""What waits of each source: its decoded messages in a queue of its own, each with what identifies it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cowbook.kernels.jit import inlined_kernel, kernel, rare_kernel
from cowbook.plain.messages import (
    BREAK,
    DEAD_LETTER,
    DIFF,
    HAS_CHECKSUM,
    IS_AGGREGATE,
    IS_LOOSE,
    MESSAGE,
    NONE,
    SELL_AGGRESSOR,
    SNAPSHOT,
    TICKER,
    TRADE,
    TRADES,
)
from cowbook.plain.schemes import UNNUMBERED

MOST_AHEAD = 4_096
"""So many messages of a source are looked through for one that another source has in front. A place further on is not seen."""

BATCH_MESSAGES = 1_024
"""A source's batch. What waits of ten sources then fits into the cache."""

_QUEUE_MESSAGES = 2 * MOST_AHEAD + BATCH_MESSAGES
_FIRST_LEVELS = 1 << 16
_PLACES = 1 << 15  # of each source: keys with a place in common are told apart only by looking
_PLACES_OF_ALL = 1 << 17

# Groups of messages. Those of one group are in the order of their ids where they have some.
INERT = 0  # says nothing of book and trades: counted as it comes
DIFFS = 1
SNAPSHOTS = 2
FILLS = 3
AGGREGATES = 4
TICKERS = 5
NUMBERED = 6  # as INERT, but of a connection whose numbers the sources share: it has its place by that
GROUPS = 7

# What the numbers of connections are (`merge_state.TOTALS`, "numbering").
UNKNOWN_NUMBERS = 0
SHARED_NUMBERS = 1  # all sources have the same ones: copies of one recording
OWN_NUMBERS = 2  # each source has its own

_DAY_NS = 86_400_000_000_000
_MULTIPLIER = np.int64(-7046029254386353131)  # 2^64 divided by the golden ratio, odd (Knuth, section 6.4)
_SEED = np.int64(8378864009470890807)  # any large number: from 0, small numbers in another order could give the same digest

WAITING = np.dtype(
    [(name, np.int64) for name in ("key", "content", "time", "group", "own_time", "latest", "received", "is_content")]
)
"""Of a message that waits: what identifies it, what it says, its time where that identifies it, too (else NONE), its group, the
venue's time (NONE if the receive time stands in for it), the time from which on it is expected (`_expected_from`), when it was
received, or else the venue's time, and whether it has no time and only its content names it, or a snapshot's id, which several
may have: 1 for one of the book, 2 for a ticker, else 0. Then its place among the others of its source tells, too."""

LANE_CURSOR = np.dtype(
    [
        (name, np.int64)
        for name in (
            "head",  # index of the first message that waits
            "end",  # index behind the last one
            "level_end",  # index behind the last level
            "has_ended",  # not 0 if nothing follows
            "is_passed",  # not 0 if it is not waited for
            "is_checked",  # not 0 if the head was not brought by another source before
            "latest",  # WAITING.latest of the last message
            "consumed",  # the same of the last one that was consumed and is not in the arrays any more
        )
    ]
)


class Queues(NamedTuple):
    """Per source, a row: its messages, their levels, and what identifies them."""

    messages: npt.NDArray[np.void]  # MESSAGE, (sources, messages)
    waiting: npt.NDArray[np.void]  # WAITING, likewise
    prices: npt.NDArray[np.int64]  # (sources, levels)
    sizes: npt.NDArray[np.int64]
    cursors: npt.NDArray[np.void]  # LANE_CURSOR, (sources,)
    present: npt.NDArray[np.int16]  # (sources, places): how many messages of each wait whose keys have this place
    present_in_all: npt.NDArray[np.int32]  # (places,): the same of all together
    times: npt.NDArray[np.int64]  # (2, sources): `own_time` and `received` of the messages in front; for `hand_on_alone`

    @classmethod
    def allocate(cls, sources: int) -> Queues:
        """Returns empty queues. Untouched memory costs nothing."""
        return cls(
            np.zeros((sources, _QUEUE_MESSAGES), MESSAGE),
            np.zeros((sources, _QUEUE_MESSAGES), WAITING),
            np.zeros((sources, _FIRST_LEVELS), np.int64),
            np.zeros((sources, _FIRST_LEVELS), np.int64),
            np.zeros(sources, LANE_CURSOR),
            np.zeros((sources, _PLACES), np.int16),
            np.zeros(_PLACES_OF_ALL, np.int32),
            np.zeros((2, sources), np.int64),
        )

    def with_levels(self, levels: int) -> Queues:
        """Returns the same with room for so many levels of each source."""
        prices, sizes = (np.zeros((len(self.cursors), levels), np.int64) for _ in range(2))
        prices[:, : self.prices.shape[1]], sizes[:, : self.sizes.shape[1]] = self.prices, self.sizes
        return self._replace(prices=prices, sizes=sizes)


@inlined_kernel
def _group_of(message):
    kind = message.kind
    if kind == DIFF:
        return DIFFS
    if kind == SNAPSHOT:
        return SNAPSHOTS
    if kind == TRADE:
        return AGGREGATES if message.flags & IS_AGGREGATE != 0 else FILLS
    if kind == TRADES:
        return FILLS
    if kind == TICKER:
        return TICKERS
    return INERT


@inlined_kernel
def _mix(key, value):
    key = (key ^ value) * _MULTIPLIER
    return key ^ ((key >> 29) & 0x7FFFFFFFF)


@inlined_kernel
def _content(message, prices, sizes):
    """Returns a digest of what a message says: its levels, and the checksum of the book after it."""
    digest = _mix(_SEED, message.flags & SELL_AGGRESSOR if message.kind == TRADE else 0)
    if (message.kind == DIFF or message.kind == SNAPSHOT) and message.flags & HAS_CHECKSUM != 0:
        digest = _mix(digest, message.checksum + 1)
    for part in range(2):
        start = message.bid_start if part == 0 else message.ask_start
        count = message.bid_count if part == 0 else message.ask_count
        digest = _mix(digest, count)
        for level in range(start, start + count):
            digest = _mix(_mix(digest, prices[level]), sizes[level])
    return digest


@inlined_kernel
def own_time(message):
    """Returns the venue's time of a message; NONE if the receive time stands in for it."""
    return message.ts_event if message.ts_event != message.ts_recv else NONE


@inlined_kernel
def is_named_by_ids(message, group):
    """Returns whether the ids of a message tell it from all others of its group."""
    if group == DIFFS:
        return message.rule != UNNUMBERED
    if group == FILLS or group == AGGREGATES:
        return message.kind == TRADE and message.last_id != NONE
    return False


@inlined_kernel
def number_key(sequence, group):
    """Returns the key of a record by its connection's number, which the sources share.

    Records of two groups are two, whatever their numbers: who has not heard what a channel is calls its trades unused.
    """
    return _mix(_mix(_SEED, GROUPS + group), sequence)


@kernel
def number(message, waiting):
    """Have a record that its connection numbers identified by the number, which the sources share."""
    if message.sequence == 0 or message.kind == DEAD_LETTER or message.kind == BREAK:
        return
    if waiting.group == INERT:
        waiting.group = NUMBERED
        waiting.content = 0
    waiting.key = number_key(message.sequence, waiting.group)
    waiting.time = NONE
    waiting.is_content = 0


@inlined_kernel
def _place_of(key):
    """Returns the place of a key among those of all sources; its last bits are the place among those of one."""
    return (key ^ (key >> 23)) & (_PLACES_OF_ALL - 1)


@inlined_kernel
def count_key(queues, source, key, change):
    """Count a message that comes to wait, or that waits no more."""
    place = _place_of(key)
    queues.present[source, place & (_PLACES - 1)] += change
    queues.present_in_all[place] += change


@inlined_kernel
def is_held(queues, source, key):
    """Returns whether a message with this key may wait in a source; if not, none does."""
    return queues.present[source, _place_of(key) & (_PLACES - 1)] != 0


@inlined_kernel
def is_held_once(queues, key):
    """Returns whether the one message with this key that is known to wait is for certain the only one in all sources."""
    return queues.present_in_all[_place_of(key)] == 1


@inlined_kernel
def _identify(message, prices, sizes, waiting):
    """Fill in what identifies a message. Of a message only the fields of its kind are set."""
    group = _group_of(message)
    own = own_time(message)
    waiting.group = group
    waiting.own_time = own
    waiting.received = message.ts_recv if message.ts_recv != NONE else own
    waiting.time = NONE
    waiting.key = 0
    waiting.is_content = 0
    if group == INERT:
        return
    waiting.content = _content(message, prices, sizes)
    key = _mix(_mix(_SEED, group), message.market)
    if group == DIFFS:
        key = _mix(_mix(key, message.speed), message.channel)
    if is_named_by_ids(message, group):
        key = _mix(key, message.last_id)
        if group == DIFFS:
            key = _mix(key, message.first_id)
    elif (group == SNAPSHOTS or (group == TICKERS and message.flags & IS_LOOSE == 0)) and message.last_id != NONE:
        key = _mix(_mix(key, message.last_id), waiting.content)
        if group == SNAPSHOTS:  # several answers may show one state of the book
            waiting.time = own
            waiting.is_content = own == NONE
    else:
        key = _mix(key, waiting.content)
        waiting.time = own
        if own == NONE:
            waiting.is_content = 1 if group == DIFFS or group == SNAPSHOTS else 2 if group == TICKERS else 0
    waiting.key = key


@inlined_kernel
def _expected_from(own, before):
    """Returns the time that others must be beyond so that they do not bring a message any more.

    It is the venue's. But where a source goes back in time, as at the start of another file, others may have to bring much that
    is later: then it is `before`, that of the message in front, less a little each time. More than a day is a wrong time.
    """
    if own == NONE:
        return before
    return before - ((before - own) >> 6) if 0 < before - own < _DAY_NS else own


@rare_kernel
def _compact(queues, source):
    """Move what waits of a source to the front of its arrays."""
    cursor = queues.cursors[source]
    head, end = cursor.head, cursor.end
    cursor.consumed = queues.waiting[source, head - 1].latest if head > 0 else cursor.consumed
    first_level = cursor.level_end
    for place in range(head, end):
        message = queues.messages[source, place]
        if message.bid_count > 0:
            first_level = min(first_level, message.bid_start)
        if message.ask_count > 0:
            first_level = min(first_level, message.ask_start)
    for place in range(head, end):
        queues.messages[source, place - head] = queues.messages[source, place]
        queues.waiting[source, place - head] = queues.waiting[source, place]
        message = queues.messages[source, place - head]
        message.bid_start -= first_level
        message.ask_start -= first_level
    for level in range(first_level, cursor.level_end):
        queues.prices[source, level - first_level] = queues.prices[source, level]
        queues.sizes[source, level - first_level] = queues.sizes[source, level]
    cursor.level_end -= first_level
    cursor.head = 0
    cursor.end = end - head


@kernel
def append(queues, source, batch, count, level_count, skip, numbering):
    """Append a batch's messages from `skip` on to a source's queue. Returns False if there is not enough room for levels.

    There must be room for `count` messages behind those that wait.
    """
    cursor = queues.cursors[source]
    if cursor.head == cursor.end:
        cursor.consumed = cursor.latest
        cursor.head = 0
        cursor.end = 0
        cursor.level_end = 0
    waiting_count = cursor.end - cursor.head
    is_full = cursor.end + count > queues.messages.shape[1] or cursor.level_end + level_count > queues.prices.shape[1]
    if is_full or cursor.head > 2 * waiting_count:  # often enough to stay in the cache, and seldom enough to cost little
        _compact(queues, source)
    if cursor.level_end + level_count > queues.prices.shape[1]:
        return False
    prices, sizes = queues.prices[source], queues.sizes[source]
    shift = cursor.level_end
    for level in range(level_count):
        prices[shift + level] = batch.prices[level]
        sizes[shift + level] = batch.sizes[level]
    for place in range(skip, count):
        queues.messages[source, cursor.end] = batch.messages[place]
        message = queues.messages[source, cursor.end]
        message.bid_start += shift
        message.ask_start += shift
        waiting = queues.waiting[source, cursor.end]
        _identify(message, prices, sizes, waiting)
        cursor.latest = _expected_from(waiting.own_time, cursor.latest)
        waiting.latest = cursor.latest
        if numbering == SHARED_NUMBERS:
            number(message, waiting)
        count_key(queues, source, waiting.key, 1)
        cursor.end += 1
    cursor.level_end += level_count
    return True
