"""Looks at the beginning of a file: the formats, the symbols, and what their books show."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cowbook.book.order_book_engine import OrderBookEngine
from cowbook.capture.compression import DecodedFile, open_decoded, read_fully
from cowbook.capture.containers import LOOKED_AT_BYTES, PARQUET
from cowbook.capture.parquet_rows import ParquetRows
from cowbook.errors import CowbookError
from cowbook.input.settings import DecoderSettings
from cowbook.input.text.envelope import has_frames
from cowbook.input.text.json_fields import RECEIVE_TIME
from cowbook.input.text.line_decoder import array_opening
from cowbook.input.text.wrapping import is_wrapped, name_of_wrapping
from cowbook.input.verdict import MAX_OTHER_SYMBOLS, shown
from cowbook.inspection.facts import FileFacts, FormatFacts, SymbolFacts
from cowbook.inspection.pieces import go_through, settings_of
from cowbook.plain.messages import DIFF, FUTURES, IS_UNLABELLED, NONE, RPI, SNAPSHOT, SPOT, TICKER, TRADE, TRADES
from cowbook.plain.table_header import LONGEST_HEADER, PACKED_MAGIC, read_header
from cowbook.plain.vocabulary import AUDIT_KINDS
from cowbook.symbol.naming import has_named
from cowbook.venues import load_venue
from cowbook.venues.recognise import SNIFFED_BYTES, formats_of_file, message_in, names_in, refusal_of, what_wrapper
from cowbook.venues.unsupported import unsupported_name

LOOKED_BYTES = 16 << 20
"""How many decoded bytes of a file are looked at."""
MOST_SYMBOLS = 64
"""So many symbols of a file are counted. Each takes a pass over its bytes. The others are named only."""

NOBODY = "?"
"""A name that no record has: what is a symbol's by what the records say is another symbol's then."""
_MARKETS = {SPOT: "spot", FUTURES: "futures", RPI: "rpi"}
_MADE = (DIFF, SNAPSHOT, TRADE, TRADES, TICKER)
_WOULD_FIT = re.compile(r"(price|size)_decimals = (\d+)")
_CSV_HEADER = re.compile(rb"[A-Za-z_][\w .-]*(?:,[\w .\[\]-]+){2,}\r?")
_SHOWN_COLUMNS = 12
_BOMS = (b"\xff\xfe", b"\xfe\xff")


def look_at(path: Path, limit: int = LOOKED_BYTES, prepare: Callable[[list[str]], None] = lambda _formats: None) -> FileFacts:
    """Look at a file. What cannot be read is said in the facts, never raised.

    `prepare` is called before the decoders of these formats are used, so that their kernels can be compiled.
    """
    facts = FileFacts(str(path))
    try:
        head = _fill_in_head(facts, path)
        if not head:
            return facts
        names = formats_of_file(head, settings_of(NOBODY))
        if not names:
            facts.unreadable = _describe_unknown(head)
            return facts
        if any(load_venue(name).tables for name in names) and facts.layout == "lines":
            facts.layout = "CSV"
        _measure(path, facts, limit)
        prepare(names)
        facts.formats = [_look_for_symbols(path, name, head, limit) for name in names]
        _refuse_chance_finds(facts)
    except OSError as error:
        facts.unreadable = f"it cannot be read: {error.strerror or error}"
    except CowbookError as error:
        facts.unreadable = _without_path(str(error), path)
    return facts


def _refuse_chance_finds(facts: FileFacts) -> None:
    """Call a file no capture if more is rejected than used: a page of documentation may quote a record."""
    symbols = [symbol for format_ in facts.formats for symbol in format_.symbols]
    rejected = min((sum(symbol.rejected.values()) for symbol in symbols), default=0)
    used = sum(symbol.depth + symbol.snapshots + symbol.tickers + symbol.trades for symbol in symbols)
    if rejected > used:
        names = " and ".join(format_.name for format_ in facts.formats)
        facts.unreadable = f"{used:,} records of {names} among {rejected:,} that are none"
        facts.formats = []


def look_at_head(path: Path) -> FileFacts:
    """Look at a file's container and layout alone. Raises OSError, or InputError."""
    facts = FileFacts(str(path))
    _fill_in_head(facts, path)
    return facts


def _fill_in_head(facts: FileFacts, path: Path) -> bytes:
    """Find out a file's size, container and layout. Returns its first decoded bytes."""
    facts.size_bytes = path.stat().st_size
    with open_decoded(path) as file:
        head = read_fully(file, SNIFFED_BYTES)
        damage = file.damage
        if isinstance(file, DecodedFile):
            facts.container = f"{file.inside} in {file.kind}" if file.inside else file.kind
        elif isinstance(file, ParquetRows):
            facts.container = PARQUET
    if head:
        facts.layout = _layout_of(head, facts.container)
    else:
        facts.unreadable = _without_path(damage, path) or "empty"
    return head


def _without_path(text: str | None, path: Path) -> str | None:
    """A message about a file as it stands behind the file's name."""
    return text.removeprefix(f"{path} ").removeprefix("is ").replace(", which is not read", "") if text is not None else None


def _measure(path: Path, facts: FileFacts, limit: int) -> None:
    """Read what is looked at once, to know how much it is, and whether it is damaged."""
    with open_decoded(path) as file:
        scratch = bytearray(1 << 20)
        while facts.looked_bytes < limit:
            count = file.readinto(memoryview(scratch)[: min(len(scratch), limit - facts.looked_bytes)]) or 0
            facts.damage = facts.damage or _without_path(file.damage, path)
            if not count:
                return
            facts.looked_bytes += count
        facts.is_whole = not file.read(1)


def _layout_of(head: bytes, container: str) -> str:
    """What stands around the records."""
    if container == PARQUET or head.startswith(PACKED_MAGIC):
        return "table"
    if has_frames(head):
        return "cbcap frames"
    if array_opening(head):
        return "JSON array"
    first = head.removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0]
    if _CSV_HEADER.fullmatch(first) and not is_wrapped(head, None):
        return "CSV"
    if (name := name_of_wrapping(head)) is not None:
        return name
    if RECEIVE_TIME.match(first):
        return "lines with a receive time"
    return "lines"


def _describe_unknown(head: bytes) -> str:
    """What a file looks like that no format reads."""
    first = head.removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0]
    records = [line for line in head.split(b"\n", 50)[:50] if line.strip()]
    venue = next((name for record in records if (name := unsupported_name(message_in(record))) is not None), None)
    if venue is not None:
        wrapping = name_of_wrapping(head)
        return f"it looks like {venue}{f' in {wrapping}' if wrapping is not None else ''}, which is not supported"
    if (refusal := refusal_of(head)) is not None:
        return f"it {refusal}"
    wrapper = next((text for record in records if (text := what_wrapper(record, settings_of(NOBODY))) is not None), None)
    if wrapper is not None:
        return wrapper
    header = read_header(head[:LONGEST_HEADER]) if head.startswith(PACKED_MAGIC) else None
    if header is not None:
        return _describe_table(header.names)
    if _CSV_HEADER.fullmatch(first):
        return _describe_table(first.decode(errors="replace").strip().split(","))
    if b"\0" in head[:LOOKED_AT_BYTES] or head.startswith(_BOMS):
        return f"binary data of no known kind, which begins with {head[:8].hex(' ')}"
    kind = "JSON of no known venue" if _is_json(first) else "text of no known kind"
    return f"{kind}, which begins with {shown(first[:80].decode(errors='replace'))}"


def _describe_table(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - _SHOWN_COLUMNS} more" if len(columns) > _SHOWN_COLUMNS else ""
    return f"a table of no known format: its columns are {', '.join(columns[:_SHOWN_COLUMNS])}{more}"


def _is_json(line: bytes) -> bool:
    """Whether a line is an object or an array."""
    try:
        return isinstance(json.loads(line), dict | list)
    except ValueError:  # also where it is no UTF-8
        return False


def _look_for_symbols(path: Path, format_name: str, head: bytes, limit: int) -> FormatFacts:
    """All symbols of a file in one format."""
    settings = settings_of(NOBODY)
    found = dict.fromkeys(name for name in names_in(head, format_name, settings)[1] if name)
    names_nobody, is_more = False, False
    for piece in go_through(path, format_name, settings, limit):
        names_nobody |= has_named(piece.messages())
        found |= dict.fromkeys(name for name in piece.decoder.other_symbols if name)
        is_more = len(piece.decoder.other_symbols) == MAX_OTHER_SYMBOLS
    facts = FormatFacts(format_name, not_counted=list(found)[MOST_SYMBOLS:])
    if is_more:
        facts.not_counted.append("maybe more")
    for name in list(found)[:MOST_SYMBOLS]:
        counted = _count(path, format_name, settings_of(name), limit)
        if not counted.is_empty or counted.rejected:
            facts.symbols.append(counted)
    if names_nobody or not facts.symbols:
        counted = _count(path, format_name, settings, limit)
        counted.name = ""
        if not counted.is_empty:
            facts.symbols.append(counted)
    return facts


def _count(path: Path, format_name: str, settings: DecoderSettings, limit: int) -> SymbolFacts:
    """Take one symbol through its book. Where decimals do not suffice it is done again with those that do.

    Numbers may need more digits than any one setting has. Then the setting counts that rejects the fewest records.
    """
    least: tuple[int, SymbolFacts, OrderBookEngine, set[tuple[int, int]]] | None = None
    while True:
        facts = SymbolFacts(settings.name, price_decimals=settings.price_decimals, size_decimals=settings.size_decimals)
        seen: set[tuple[int, int]] = set()
        details: list[str] = []
        for piece in go_through(path, format_name, settings, limit):
            details += [letter.detail for letter in piece.batch.dead_letters if letter.reason == "out_of_range"]
            _add_messages(facts, piece.messages(), seen)
            piece.apply(0, piece.batch.message_count)
            facts.synced |= piece.engine.synced
            engine = piece.engine
        if least is None or len(details) < least[0]:
            least = len(details), facts, engine, seen
        better = _wider(settings, details)
        if better is None:
            break
        settings = better
    misfits, facts, engine, seen = least
    facts.has_misfits = misfits > 0
    _judge(facts, engine)
    facts.books = _name_books(format_name, seen)
    return facts


def _wider(settings: DecoderSettings, details: Iterable[str]) -> DecoderSettings | None:
    """Settings with the decimals that rejected values would need; None if no others would help."""
    needed = {"price": settings.price_decimals, "size": settings.size_decimals}
    for detail in details:
        for kind, decimals in _WOULD_FIT.findall(detail):
            needed[kind] = max(needed[kind], min(int(decimals), 18))
    if needed == {"price": settings.price_decimals, "size": settings.size_decimals}:
        return None
    return settings_of(settings.name, needed["price"], needed["size"])


def _add_messages(facts: SymbolFacts, messages: npt.NDArray[np.void], seen: set[tuple[int, int]]) -> None:
    """Count messages by kind, take their times, and note which books the depth messages are of."""
    kinds = messages["kind"]
    is_diff, is_snapshot = kinds == DIFF, kinds == SNAPSHOT
    facts.depth += int(is_diff.sum())
    is_unlabelled = is_snapshot & (messages["flags"] & IS_UNLABELLED != 0)
    facts.snapshots += int(is_snapshot.sum()) - int(is_unlabelled.sum())
    facts.unlabelled += int(is_unlabelled.sum())
    facts.tickers += int((kinds == TICKER).sum())
    facts.trades += int((kinds == TRADE).sum()) + int(messages["bid_count"][kinds == TRADES].sum())
    made = messages[np.isin(kinds, _MADE)]
    times = np.where(made["ts_event"] != NONE, made["ts_event"], made["ts_recv"])
    times = times[times != NONE]
    if len(times):
        facts.first_time = int(times[0]) if facts.first_time is None else facts.first_time
        facts.last_time = int(times[-1])
    depth = messages[is_diff]  # what a snapshot says of its market is no more than a guess
    seen |= set(zip(depth["market"].tolist(), depth["channel"].tolist(), strict=True))


def _name_books(format_name: str, seen: set[tuple[int, int]]) -> tuple[str, ...]:
    """Names of the books that depth messages were of, where the format has names for them."""
    channels = {number: name for name, number in load_venue(format_name).channels.items() if number}
    has_markets = len({market for market, _ in seen}) > 1
    names = {_MARKETS.get(market) if has_markets or channel not in channels else channels[channel] for market, channel in seen}
    return tuple(sorted(name for name in names if name is not None))


def _judge(facts: SymbolFacts, engine: OrderBookEngine) -> None:
    """Take over what the engine says of the book. Snapshots that name nobody count as far as they join the symbol's diffs."""
    facts.snapshots += min(facts.unlabelled, engine.value("snapshots") + engine.value("witnesses"))
    facts.gaps, facts.missing = engine.value("gaps"), engine.value("missing_updates")
    facts.comparable = engine.value("compared") - engine.value("compared_unsynced")
    facts.matched = facts.comparable - engine.value("refuted")
    facts.shows_loss = engine.value("unnumbered") == 0
    audits = engine.audit_statistics()
    facts.proofs = tuple(kind for kind in AUDIT_KINDS if audits[kind]["matched"] + audits[kind]["failed"])
    facts.rejected = {reason: count for reason, count in engine.dead_letter_statistics().items() if count}
