"""Messages that wait: snapshots for a time, for a diff that reaches or proves them, and a diff for the one that confirms it.

There are a few slots. A slot's message is an ordinary MESSAGE whose levels are in Logs.slot_prices and slot_sizes, so that it can
be applied like any other when its turn has come (ADR 15).
"""

from __future__ import annotations

from cowbook.kernels.jit import inlined_kernel, rare_kernel
from cowbook.plain.book_state import AHEAD, FOREIGN, FREE, MOST_FOREIGN, MOST_SLOTS, PATIENCE, STALE_ONE, UNTIMED
from cowbook.plain.messages import HAS_LEVEL_IDS

NO_SLOT = -1


@inlined_kernel
def find_slot(state, slots, purpose):
    """Returns the first slot of this purpose; NO_SLOT if there is none."""
    if state.slot_count == 0:
        return NO_SLOT
    return _oldest(slots, purpose, 0)


@rare_kernel
def _oldest(slots, purpose, after):
    """Returns the longest waiting slot of this purpose with an order above `after`; NO_SLOT if there is none."""
    info = slots.info
    found = NO_SLOT
    for place in range(MOST_SLOTS):
        slot = info[place]
        if slot.purpose == purpose and slot.order > after and (found == NO_SLOT or slot.order < info[found].order):
            found = place
    return found


@rare_kernel
def oldest_but_one(slots, purpose):
    """Returns the second of the slots of this purpose in order of arrival; NO_SLOT if there are fewer than two."""
    first = _oldest(slots, purpose, 0)
    return NO_SLOT if first == NO_SLOT else _oldest(slots, purpose, slots.info[first].order)


@rare_kernel
def count_slots(slots, purpose):
    """Returns how many slots have this purpose."""
    count = 0
    for place in range(MOST_SLOTS):
        count += slots.info[place].purpose == purpose
    return count


@rare_kernel
def free_slot(state, slots, place):
    """Forget a message that waited."""
    slot = slots.info[place]
    if slot.is_due:
        state.due_count -= 1
    slot.is_due = 0
    slot.purpose = FREE
    state.slot_count -= 1


@rare_kernel
def keep_in_slot(engine, message, levels, purpose):
    """Let a message wait. There must be a free slot, and room for its levels. Returns the slot."""
    state, logs = engine.state[0], engine.logs
    place = _oldest(engine.slots, FREE, -1)
    engine.slots.messages[place] = message
    kept = engine.slots.messages[place]
    kept.flags &= ~HAS_LEVEL_IDS
    at = state.slot_level_end
    kept.bid_start = at
    for level in range(message.bid_count):
        logs.slot_prices[at + level] = levels.prices[message.bid_start + level]
        logs.slot_sizes[at + level] = levels.sizes[message.bid_start + level]
    at += message.bid_count
    kept.ask_start = at
    for level in range(message.ask_count):
        logs.slot_prices[at + level] = levels.prices[message.ask_start + level]
        logs.slot_sizes[at + level] = levels.sizes[message.ask_start + level]
    state.slot_level_end = at + message.ask_count
    state.slot_count += 1
    state.slot_order += 1
    slot = engine.slots.info[place]
    slot.purpose = purpose
    slot.order = state.slot_order
    slot.since = state.diffs
    slot.is_due = 0
    return place


@rare_kernel
def make_due(state, slots, place):
    """Have a message processed before the next one of the input."""
    slot = slots.info[place]
    if not slot.is_due:
        slot.is_due = 1
        state.due_count += 1


@rare_kernel
def mark_ahead(state, slots):
    """Have the witness that waits, if there is one, processed now: the book is not synced any more."""
    place = find_slot(state, slots, AHEAD)
    if place != NO_SLOT:
        make_due(state, slots, place)


@rare_kernel
def _rank(purpose):
    if purpose == UNTIMED:
        return 2
    return 1 if purpose == FOREIGN else 0


@rare_kernel
def next_due(slots):
    """Returns the due message that comes first. There must be one.

    A witness comes before snapshots that a diff has proved, and each in order of arrival. Snapshots that waited for a time come
    last: they stand for messages of the input, behind which others may be due.
    """
    info = slots.info
    found = NO_SLOT
    for place in range(MOST_SLOTS):
        slot = info[place]
        if not slot.is_due:
            continue
        if found == NO_SLOT:
            found = place
            continue
        rank, best = _rank(slot.purpose), _rank(info[found].purpose)
        if rank < best or (rank == best and slot.order < info[found].order):
            found = place
    return found


@rare_kernel
def become_stale_one(state, slots, place):
    """Count a snapshot that waits as stale, and remember it as the newest one, because ids may begin anew with it."""
    other = find_slot(state, slots, STALE_ONE)
    if other != NO_SLOT:
        free_slot(state, slots, other)
    slot = slots.info[place]
    if slot.is_due:
        state.due_count -= 1
    slot.is_due = 0
    slot.purpose = STALE_ONE
    state.stale_snapshots += 1


@rare_kernel
def become_foreign(state, slots, place):
    """Let a snapshot wait, behind all others, for a diff that shows whose it is. Of too many, the newest stay."""
    if count_slots(slots, FOREIGN) == MOST_FOREIGN:
        free_slot(state, slots, find_slot(state, slots, FOREIGN))
    state.slot_order += 1
    slots.info[place].order = state.slot_order
    slots.info[place].purpose = FOREIGN


@rare_kernel
def drop_impatient(state, slots):
    """Drop the witness that PATIENCE applied diffs have not reached."""
    place = find_slot(state, slots, AHEAD)
    if place != NO_SLOT and not slots.info[place].is_due and state.diffs - slots.info[place].since >= PATIENCE:
        become_stale_one(state, slots, place)
