"""Several connections in one capture: whose book it is, which were opened again, and the venue's state of each.

All of it is in the decoder's state (`venue.Connection`), so that a checkpoint holds it. Keys that begin with a tab are those of
this module: the address of each connection, and the connection and the address of the book. A venue's own keys stand behind the
connection's name and a tab; those of a capture that names no connection are as the venue has them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from cowbook.input.text.wrapped_runs import Run
from cowbook.input.text.wrapping import Unwrapped
from cowbook.input.venue import Connection
from cowbook.plain.messages import DIFF, SNAPSHOT, TICKER, TRADE, TRADES, UNUSED

_ENDS = ("ws", "stream", "")
_ADDRESS_OF = "\taddress of "
_BOOK, _BOOK_ADDRESS, _OTHER_ADDRESS = "\tbook", "\tbook address", "\tother address"
_OF_BOOKS = (DIFF, SNAPSHOT)
_USED = (DIFF, SNAPSHOT, TRADE, TRADES, TICKER)


def view(connection: Connection, name: str) -> Connection:
    """A venue's state of the connection of that name."""
    if not any("\t" in key for key in connection) and not name:
        return connection
    prefix = f"{name}\t" if name else ""
    return {
        key.removeprefix(prefix): value
        for key, value in connection.items()
        if (key.startswith(prefix) if prefix else "\t" not in key)
    }


def merged(connection: Connection, name: str, own: Connection) -> Connection:
    """The whole state with a venue's new state of the connection of that name."""
    prefix = f"{name}\t" if name else ""
    others = {key: value for key, value in connection.items() if not (key.startswith(prefix) if prefix else "\t" not in key)}
    return others | {f"{prefix}{key}": value for key, value in own.items()}


def after_event(connection: Connection, event: Unwrapped) -> tuple[Connection, bool]:
    """The state behind a connection that was opened or lost, and whether what follows may not follow what came before.

    That is so where the connection of the book is opened again, or a capture of one connection says that it was lost.
    """
    if not event.connection:
        # A new connection numbers its channels anew.
        return {key: value for key, value in connection.items() if key.startswith("\t")}, True
    key = _ADDRESS_OF + event.connection
    is_again = event.opens and key in connection
    is_lost = is_again and connection.get(_BOOK, event.connection) == event.connection
    kept = merged(connection, event.connection, {}) if event.opens else connection
    return {**kept, key: event.address}, is_lost


def choose(
    connection: Connection, run: Run, records: npt.NDArray[np.int64], messages: npt.NDArray[np.void], wanted: str
) -> list[tuple[int, Connection]]:
    """Keep the messages of the book's own address, and the numbers of its own connection. The others become unused.

    `records` are the run's records of the messages, and `wanted` is the address that the configuration names; empty: that of
    the first depth message. Returns the states behind messages, each with the number of messages before it.
    """
    names = run.connections
    if not any(names):
        return []
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    line_numbers = np.fromiter((numbers[name] for name in names), np.int64, len(names))
    found = line_numbers[records]
    addresses = [connection.get(_ADDRESS_OF + name, "") for name in numbers]
    address = wanted or connection.get(_BOOK_ADDRESS, "")
    is_depth = np.isin(messages["kind"], _OF_BOOKS)
    first = next((index for index in np.flatnonzero(is_depth).tolist() if addresses[found[index]]), None)
    start = 0
    if not address and first is not None:
        address, start = addresses[found[first]], first
    place = _place_of(address)
    is_other = np.array([bool(each) and _place_of(each) != place for each in addresses])[found]
    is_other &= np.isin(messages["kind"], _USED)
    is_other[:start] = False
    if not address:
        is_other[:] = False
    if is_other.any() and _OTHER_ADDRESS not in connection:
        connection = {**connection, _OTHER_ADDRESS: addresses[found[int(is_other.argmax())]]}
    messages["kind"][is_other] = UNUSED
    messages["sequence"][is_other] = 0
    is_depth &= ~is_other
    states = _follow_book(connection, list(numbers), found, is_depth, messages, address)
    if _OTHER_ADDRESS in connection and not states and len(messages):
        states = [(len(messages), connection)]
    return states


def addresses_of(connection: Connection) -> tuple[str, str]:
    """The address of the book, and another one of which messages of the symbol were left out; empty where there is none."""
    return connection.get(_BOOK_ADDRESS, ""), connection.get(_OTHER_ADDRESS, "")


@lru_cache(256)
def _place_of(address: str) -> str:
    """The part of an address that tells markets apart: without scheme, port, what was asked for, and streams of one symbol."""
    host, *parts = address.partition("?")[0].rpartition("//")[2].split("/")
    kept: list[str] = []
    for part in parts:
        if "@" in part:
            break
        kept.append(part)
    while kept and kept[-1] in _ENDS:
        kept.pop()
    return "/".join([host.partition(":")[0], *kept])


def _follow_book(
    connection: Connection,
    names: list[str],
    found: npt.NDArray[np.int64],
    is_depth: npt.NDArray[np.bool_],
    messages: npt.NDArray[np.void],
    address: str,
) -> list[tuple[int, Connection]]:
    """Note the connection of the book wherever it changes. Numbers of other connections are taken away."""
    book = connection.get(_BOOK)
    current = names.index(book) if book in names else -1
    last = np.maximum.accumulate(np.where(is_depth, np.arange(len(found)), -1))
    of_book = np.where(last >= 0, found[last], current)
    messages["sequence"][found != of_book] = 0
    states: list[tuple[int, Connection]] = []
    for place in np.flatnonzero(np.diff(of_book, prepend=current)).tolist():
        name = names[int(of_book[place])]
        if name and (name != connection.get(_BOOK) or address != connection.get(_BOOK_ADDRESS, "")):
            connection = {**connection, _BOOK: name, _BOOK_ADDRESS: address}
            states.append((place + 1, connection))
    return states
