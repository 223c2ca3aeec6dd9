"""The kernel that joins the sources' queues in one order. What it does depends on the messages of the queues alone.

Nothing is decided before each source shows its next message, has ended, or is passed over. A message that another source has
further back waits until that source has brought what it has in front: so the order within each source stays.
"""

from __future__ import annotations

from cowbook.kernels.jit import kernel
from cowbook.merge.alone import UNCLEAR, hand_on_alone
from cowbook.merge.choice import choose, horizon_of, is_of_one_source
from cowbook.merge.duplicates import check_head
from cowbook.merge.handing_on import hand_on, hand_on_inert, hand_on_others, has_room, note_others
from cowbook.merge.queues import INERT
from cowbook.merge.state import ENDED, FULL, NO_SOURCE, has_more_to_come


@kernel
def join(merge, joined, most_messages):
    """Append messages to the batch, at most so many, in the order of the whole.

    Returns the number of a source of which more is needed, FULL, or ENDED.
    """
    queues, sources = merge.queues, merge.lanes.size
    is_any_passed = False
    for source in range(sources):
        is_any_passed |= queues.cursors[source].is_passed != 0
    horizon = horizon_of(merge)  # nothing is appended meanwhile
    was_alone = True
    while True:
        waiting, inert, has_others = 0, NO_SOURCE, False
        for source in range(sources):
            cursor = queues.cursors[source]
            has_others |= merge.lanes[source].others > 0
            if cursor.is_checked == 0:
                needed = check_head(merge, source)
                if needed != NO_SOURCE and (needed != source or has_more_to_come(cursor)):
                    return needed
                if needed == source:
                    continue
            waiting += 1
            if inert == NO_SOURCE and queues.waiting[source, cursor.head].group == INERT:
                inert = source
        if has_others:
            if waiting == 0:
                note_others(merge, NO_SOURCE)
            count = hand_on_others(merge, joined, most_messages)
            if count == FULL:
                return FULL
            if count > 0:
                continue
        if waiting == 0:
            return ENDED
        next_one = inert
        if inert == NO_SOURCE:
            if was_alone and not is_any_passed and not has_others:
                was_alone = False
                why = hand_on_alone(merge, joined, most_messages, horizon)
                if why != UNCLEAR:
                    return why
                continue
            next_one, needed = choose(merge, horizon)
            if needed != NO_SOURCE:
                return needed
            if has_others:
                note_others(merge, next_one)
                count = hand_on_others(merge, joined, most_messages)
                if count == FULL:
                    return FULL
        if not has_room(joined, queues.messages[next_one, queues.cursors[next_one].head], most_messages):
            return FULL
        if inert != NO_SOURCE:
            hand_on_inert(merge, next_one, joined)
        else:
            was_alone = is_of_one_source(merge, next_one, horizon)
            hand_on(merge, next_one, joined, is_any_passed)
