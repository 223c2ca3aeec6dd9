"""Tells when a file's first records were written, by the decoder that will read them."""

from __future__ import annotations

from statistics import median_low

import numpy as np
import numpy.typing as npt

from cowbook.errors import InputError
from cowbook.input.decoder import Decoder
from cowbook.input.settings import DecoderSettings
from cowbook.plain.block import PADDING, Block
from cowbook.plain.messages import DIFF, NONE, SNAPSHOT, EventBatch
from cowbook.plain.position import IDENTITY_BYTES
from cowbook.venues.decoders import make_decoder

_RECORDS = 5
"""Times looked at. Their median is taken, so that a wrong clock in one or two records does not move a file."""

_MESSAGES, _LEVELS = 256, 1 << 12


class FirstTime:
    """Finds the time of the first records in a file's head. Calls must not overlap."""

    def __init__(self, format_name: str, settings: DecoderSettings) -> None:
        self._format_name = format_name
        self._settings = settings
        self._decoder: Decoder | None = None  # kept: it learns the forms of records

    def __call__(self, head: bytes, whole: bool) -> int | None:
        """The median event time (ns since 1970) of the head's first depth messages, else of its first messages of any kind.

        Without event times those of receiving are taken. Returns None if no record has a time. `whole` says whether the file
        ends with the head.
        """
        if self._decoder is None:
            self._decoder = make_decoder(self._format_name, self._settings)
        buffer = np.zeros(len(head) + PADDING, np.uint8)
        buffer[: len(head)] = np.frombuffer(head, np.uint8)
        batch = EventBatch.allocate(_MESSAGES, _LEVELS)
        self._decoder.restore_connection({})
        try:
            self._decoder.decode(Block(buffer, 0, len(head), "", 0, whole, head[:IDENTITY_BYTES]), batch)
        except InputError:  # it is no file of this format, and reading it says so
            self._decoder = None
            return None
        messages = batch.messages[: batch.message_count]
        is_depth = (messages["kind"] == DIFF) | (messages["kind"] == SNAPSHOT)
        candidates = (messages["ts_event"][is_depth], messages["ts_event"], messages["ts_recv"])
        return next((median_low(times) for times in map(_known, candidates) if times), None)


def _known(times: npt.NDArray[np.int64]) -> list[int]:
    return [int(time) for time in times[(times != NONE) & (times > 0)][:_RECORDS]]  # what is not used has 0
