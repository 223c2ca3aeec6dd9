"""cowbook: exact limit order books from recorded exchange captures, as Parquet, exactly once.

The core can be used without the daemon: `cowbook.replay` goes through a capture and yields the book between messages.
docs/library.md has examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from cowbook.book.freeze import BookSnapshot
    from cowbook.book.ladder_view import Ladder
    from cowbook.book.order_book_engine import EngineSettings, OrderBookEngine
    from cowbook.errors import CowbookError
    from cowbook.library.book import BookCopy, ReplayedBook
    from cowbook.library.features import features
    from cowbook.library.inputs import Capture
    from cowbook.library.replay import replay
    from cowbook.query.book import InstantBook
    from cowbook.query.book_at import book_at
    from cowbook.query.scan import scan

__all__ = [
    "BookCopy",
    "BookSnapshot",
    "Capture",
    "CowbookError",
    "EngineSettings",
    "InstantBook",
    "Ladder",
    "OrderBookEngine",
    "ReplayedBook",
    "__version__",
    "book_at",
    "features",
    "replay",
    "scan",
]

_HOMES = {
    "BookCopy": "cowbook.library.book",
    "BookSnapshot": "cowbook.book.freeze",
    "Capture": "cowbook.library.inputs",
    "CowbookError": "cowbook.errors",
    "EngineSettings": "cowbook.book.order_book_engine",
    "InstantBook": "cowbook.query.book",
    "Ladder": "cowbook.book.ladder_view",
    "OrderBookEngine": "cowbook.book.order_book_engine",
    "ReplayedBook": "cowbook.library.book",
    "book_at": "cowbook.query.book_at",
    "features": "cowbook.library.features",
    "replay": "cowbook.library.replay",
    "scan": "cowbook.query.scan",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use. The kernels' compiler takes a third of a second; `--version` needs none of it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'cowbook' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Returns the public names, loaded or not."""
    return [*__all__]
