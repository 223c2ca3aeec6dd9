"""The fast scanner of venues that describe their common records by shapes. It learns forms from the records that it sees.

A *shape* is declared by the venue; a *form* is the byte pattern of records that were seen (ADR 12).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from cowbook.input.forms.form_scanner import scan_records
from cowbook.input.forms.json_text import parse, shortened
from cowbook.input.forms.program import FOUND, Forms
from cowbook.input.forms.shapes import Form, Shape, literal_form, make_form, to_arrays
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.envelope import open_envelope
from cowbook.input.text.scanner import COUNTS, IS_KNOWN, STRANGE, RecordScanner
from cowbook.input.verdict import PLAIN_FIELDS, UNUSED, Decoded, DecodedMessage, OtherSymbol, Sequenced
from cowbook.kernels.jit import as_records, entry_of
from cowbook.plain.block import PADDING, Block
from cowbook.plain.messages import OTHER_SYMBOL, EventBatch
from cowbook.plain.messages import UNUSED as UNUSED_KIND

MAX_FORMS = 32
"""A venue has a few. Each further form costs time on records that match none before it."""
MAX_OTHER_FORMS = 8
"""Of these, how many may be forms of other symbols' records."""
FREE_LESSONS = 128
LESSON_INTERVAL = 64
"""The first FREE_LESSONS strange records are all examined, then one in LESSON_INTERVAL: where shapes do not help, learning must
not cost time."""
MAX_LESSON_BYTES = 1 << 13
"""Longer records are examined without all but the first element of their arrays of levels, and not if they are longer even so."""
MAX_UNUSED_FORMS = 4
MAX_UNUSED_BYTES = 256
"""An unused record has a form if it comes with the same bytes again, as heartbeats do: so many of them, up to so long ones."""


def shaped(*shapes: Shape, learns_unused: bool = True) -> Callable[[DecoderSettings], RecordScanner]:
    """Make a value for `Venue.make_scanner`. `learns_unused` is False where a record may be unused for what came before it."""
    return lambda settings: FormScanner(settings, shapes, learns_unused=learns_unused)


class FormScanner(RecordScanner):
    """Decodes records of the forms learned so far. Which forms it knows affects speed only, never the result."""

    def __init__(self, settings: DecoderSettings, shapes: tuple[Shape, ...], *, learns_unused: bool = True) -> None:
        super().__init__(settings)
        self._learns_unused = learns_unused
        self._shapes = shapes
        self._found = np.zeros(1, FOUND)
        self._entry: Callable[..., tuple[int, int]] | None = None  # the kernel, once it is needed
        self._strange_count = 0
        self._unused: deque[bytes] = deque(maxlen=2 * MAX_UNUSED_FORMS)  # messages of the last unused records without a form
        self._set_forms([])

    @property
    def form_count(self) -> int:
        """Number of known forms."""
        return len(self._forms)

    def _set_forms(self, forms: list[Form]) -> None:
        self._forms = forms
        self._programs = to_arrays(forms)
        self._forms_group: Forms | None = None

    def run_kernel(self, block: Block, batch: EventBatch) -> tuple[int, int]:
        """As `RecordScanner.run_kernel`; every record is STRANGE until a form is known."""
        if not self._forms:
            return STRANGE, block.start
        scan = self.arrays(block, batch)
        if self._forms_group is None or self._forms_group.scan is not scan:
            self._forms_group = as_records(Forms(scan, *self._programs, self._found))
        return self._scan(block, self._forms_group)

    def _scan(self, block: Block, forms: Forms) -> tuple[int, int]:
        arguments = (forms, block.start, block.end, block.offset_of(0))
        if self._entry is None:
            self._entry = entry_of(scan_records, *arguments)
        why, position = self._entry(*arguments)
        return int(why), int(position)

    def learn(self, record: bytes, decoded: Decoded) -> None:
        """Learn the record's form, if a shape describes it and the kernel has not known it."""
        is_known, self._counts[IS_KNOWN] = self._counts[IS_KNOWN], 0
        if is_known:
            return
        content = decoded.decoded if isinstance(decoded, Sequenced) else decoded
        if len(self._forms) == MAX_FORMS:
            return
        if content is UNUSED:
            if self._learns_unused:
                self._learn_unused(record, decoded)
        elif isinstance(content, DecodedMessage | OtherSymbol):
            self._learn_shape(record, decoded, content)

    def _learn_shape(self, record: bytes, decoded: Decoded, content: DecodedMessage | OtherSymbol) -> None:
        if isinstance(content, DecodedMessage) and content.level_ids:
            return  # which the kernel does not read
        others = sum(form.head.is_other for form in self._forms)
        if isinstance(content, OtherSymbol) and others == MAX_OTHER_FORMS:
            return
        self._strange_count += 1
        if self._strange_count > FREE_LESSONS and self._strange_count % LESSON_INTERVAL:
            return
        envelope = open_envelope(record)
        if envelope is None:
            return
        text = envelope.message if len(record) <= MAX_LESSON_BYTES else shortened(envelope.message)
        tree = parse(text) if len(text) <= MAX_LESSON_BYTES else None
        if tree is None:
            return
        for shape in self._shapes:
            own = content if isinstance(content, DecodedMessage) else None
            symbol = self.name if isinstance(content, DecodedMessage) else content.symbol
            form = make_form(text, tree, shape, symbol, own)
            if form is not None and self._reads_the_same(form, record, decoded):
                self._add_form(form)
                return

    def _learn_unused(self, record: bytes, decoded: Decoded) -> None:
        """Learn an unused record as it stands, if its message was seen a short time ago."""
        if len(record) > MAX_UNUSED_BYTES or sum(form.head.kind == UNUSED_KIND for form in self._forms) == MAX_UNUSED_FORMS:
            return
        envelope = open_envelope(record)
        if envelope is None or envelope.message[:1] not in (b"{", b"["):
            return
        if envelope.message not in self._unused:
            self._unused.append(envelope.message)
            return
        form = literal_form(envelope.message, UNUSED_KIND)
        if self._reads_the_same(form, record, decoded):
            self._add_form(form)

    def _add_form(self, form: Form) -> None:
        for index, known in enumerate(self._forms):
            if (merged := known.merged(form)) is not None:
                self._set_forms([*self._forms[:index], merged, *self._forms[index + 1 :]])
                return
        self._set_forms([*self._forms, form])

    def _reads_the_same(self, form: Form, record: bytes, decoded: Decoded) -> bool:
        """Returns whether the kernel, with this form, decodes the record as the reference decoder did.

        If not, the shape does not fit: a value stands where it was declared but means something else there.
        """
        content, sequence = (decoded.decoded, decoded.sequence) if isinstance(decoded, Sequenced) else (decoded, 0)
        buffer = np.zeros(len(record) + 1 + PADDING, np.uint8)
        buffer[: len(record) + 1] = np.frombuffer(record + b"\n", np.uint8)
        level_capacity = 2 * record.count(b",") + 2
        batch = EventBatch.allocate(1, level_capacity)
        counts = np.zeros(1, COUNTS)
        counts["other_symbol_seen"] = 1
        block = Block(buffer, 0, len(record) + 1, "", 0, final=True)
        scan = self.make_arrays(block, batch, counts)
        self._scan(block, as_records(Forms(scan, *to_arrays([form]), self._found)))
        if counts["messages"][0] != 1:
            return False
        message = batch.messages[0]
        if message["sequence"] != sequence:
            return False
        if not isinstance(content, DecodedMessage):
            return bool(message["kind"] == (UNUSED_KIND if content is UNUSED else OTHER_SYMBOL))
        assert counts["levels"][0] <= level_capacity
        return all(message[name] == getattr(content, name) for name in PLAIN_FIELDS) and all(
            getattr(batch, values)[message[f"{side}_start"] :][: message[f"{side}_count"]].tolist() == expected
            for side, values, expected in (
                ("bid", "prices", content.bid_prices),
                ("bid", "sizes", content.bid_sizes),
                ("ask", "prices", content.ask_prices),
                ("ask", "sizes", content.ask_sizes),
            )
        )
