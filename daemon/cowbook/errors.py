"""The errors that cowbook raises, one small tree.

Each says what is wrong, where (file, offset, symbol, key) and what to do.
"""

from __future__ import annotations


class CowbookError(Exception):
    """Root of all errors that cowbook raises on purpose."""


class ConfigError(CowbookError):
    """The configuration is wrong; `problems` lists everything that is, one line each."""

    def __init__(self, source: str, problems: list[str]) -> None:
        self.source = source
        self.problems = problems
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))


class ServiceError(CowbookError):
    """The process cannot do its work, or a running one cannot be asked; says what stands in the way."""


class SymbolError(CowbookError):
    """A symbol cannot go on. Terminal: it is shown as failed and not retried, the others run on."""


class InputError(SymbolError):
    """An input file is missing, unreadable, damaged, truncated or replaced; names file and decoded offset."""


class GapHaltError(SymbolError):
    """`on_gap = "halt"` met a gap; names file, offset and the update ids.

    As the engine raises it, it knows of messages only: `message` is the place in the batch of the one at the gap.
    """

    def __init__(self, text: str, message: int = -1) -> None:
        self.message = message
        super().__init__(text)


class BadRecordHaltError(SymbolError):
    """`on_bad_record = "halt"` met a record that is not usable; names file, offset and reason."""


class BookMemoryError(SymbolError):
    """The book reached `max_book_bytes`."""


class OutputError(SymbolError):
    """The output directory cannot be used, or holds what this run must not touch."""


class RecoveryError(SymbolError):
    """The checkpoints, the configuration and the input do not fit together; nothing was changed."""


class StorageError(CowbookError):
    """A file operation failed for a reason that may pass: what was attempted is dropped, and tried again later.

    `code` is the errno, 0 without one.
    """

    def __init__(self, text: str, code: int = 0) -> None:
        self.code = code
        super().__init__(text)


class RestartNeededError(StorageError):
    """A staged part is lost, or a commit or a publication is in an unknown state: only a restart from disk tells."""
