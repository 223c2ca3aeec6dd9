"""The errors that cowbook raises. Each says what is wrong, where (file, offset, symbol, key) and what to do."""

from __future__ import annotations


class CowbookError(Exception):
    """Base of all errors that cowbook raises on purpose."""


class ConfigError(CowbookError):
    """The configuration is wrong. `problems` lists everything that is, one line each."""

    def __init__(self, source: str, problems: list[str]) -> None:
        self.source = source
        self.problems = problems
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))


class UsageError(CowbookError, ValueError):
    """An argument of a function of the library is wrong. Names it, and says what it must be."""


class ServiceError(CowbookError):
    """The process cannot do its work, or a running one does not answer. Says why."""


class SymbolError(CowbookError):
    """A symbol cannot go on. Terminal: the symbol is shown as failed and is not retried; the others run on."""


class InputError(SymbolError):
    """An input file is missing, unreadable, truncated or replaced. Names the file and the decoded offset."""


class GapHaltError(SymbolError):
    """`on_gap = "halt"` met a gap. Names file, offset and update ids.

    When the engine raises it, it knows only the message: `message` is its index in the batch.
    """

    def __init__(self, text: str, message: int = -1) -> None:
        self.message = message
        super().__init__(text)


class BadRecordHaltError(SymbolError):
    """`on_bad_record = "halt"` met a bad record. Names file, offset and reason."""


class DamageHaltError(SymbolError):
    """`on_damage = "halt"`, or `on_gap = "halt"`, met a damaged file. Names file, offset and remedy."""


class BookMemoryError(SymbolError):
    """The book reached `max_book_bytes`."""


class OutputError(SymbolError):
    """The output directory cannot be used, or holds parts that this run must not touch."""


class LostPartsError(OutputError):
    """Parts that a checkpoint lists are neither published nor staged on this machine."""


class RecoveryError(SymbolError):
    """Checkpoints, configuration and input do not fit together. Nothing was changed."""


class LockedError(SymbolError):
    """Another process holds the lock of a symbol's state or output. Names it. Nothing was changed."""


class FencedError(SymbolError):
    """Another process has claimed the symbol since this one did: this one must not write again. Names it."""


class QueryError(CowbookError):
    """Published output cannot answer a question: it holds no such symbol or instant, or a part is missing or damaged."""


class MissingExtraError(CowbookError):
    """A library is missing that is installed only with an extra of the package. Names the extra."""

    def __init__(self, extra: str, text: str) -> None:
        self.extra = extra
        super().__init__(f"{text}: install it with pip install 'cowbook[{extra}]'")


class ExportError(CowbookError):
    """An export cannot be written: the destination exists, or the other program's format cannot hold the rows."""


class StorageError(CowbookError):
    """A file operation failed for a reason that may pass. The attempt is dropped and made again later.

    `code` is the errno, 0 if there is none.
    """

    def __init__(self, text: str, code: int = 0) -> None:
        self.code = code
        super().__init__(text)


class RestartNeededError(StorageError):
    """A staged part is lost, or the outcome of a commit or publication is unknown: only a restart from disk can tell."""
