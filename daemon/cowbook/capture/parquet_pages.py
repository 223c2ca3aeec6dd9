"""Looks at the pages of a Parquet file before they are decoded: a few bytes of a page may stand for gigabytes (ADR 18).

A reader decompresses a page as a whole, as large as the page's header says. The file's footer cannot be relied on for that, so
the headers are read here, page after page (struct PageHeader of parquet-format). A dictionary is
one page. Texts that are not in a dictionary are decoded a batch at a time; how large a batch can become follows from its pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cowbook.capture.stored_file import StoredFile
from cowbook.plain.thrift import Fields, StructReader, ThriftError

_HEADER_BYTES = 1 << 8  # read at once; headers with statistics may be longer
_LONGEST_HEADER = 1 << 20
_MOST_PAGES = 1 << 20
# Memory of pages in use, as measured with Arrow: copies of a dictionary, bytes of each of its entries, copies of another page.
_DICTIONARY_COPIES = 5
_ENTRY_BYTES = 64
_PAGE_COPIES = 2

# Fields of PageHeader, and of the headers of kinds of pages in it.
_KIND, _SIZE, _STORED = 1, 2, 3
_DATA, _DICTIONARY, _DATA_V2 = 5, 7, 8
_VALUES, _ENCODING, _ENCODING_V2 = 1, 2, 4

# Encoding of parquet-format.
_DICTIONARY_ENCODINGS = (2, 8)
DELTA_BYTE_ARRAY = 7
"""Each value of such a page begins like the one before it, which is not repeated."""


class PageError(ValueError):
    """A column has pages that cannot be told apart, or too many. Says why."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a page's header says."""

    size_bytes: int
    """Once decompressed."""
    stored_bytes: int
    values: int
    encoding: int
    is_dictionary: bool

    @property
    def is_coded(self) -> bool:
        """Whether its values are numbers of entries in the dictionary."""
        return self.encoding in _DICTIONARY_ENCODINGS and not self.is_dictionary


def read_pages(file: StoredFile, column: Any) -> list[Page]:
    """Read the headers of a column chunk's pages. `column` is pyarrow's ColumnChunkMetaData. Raises PageError and OSError."""
    place = column.data_page_offset
    dictionary = column.dictionary_page_offset
    if dictionary is not None and 0 < dictionary < place:
        place = dictionary
    end = place + column.total_compressed_size
    pages: list[Page] = []
    values = 0
    while place < end and values < column.num_values:
        if len(pages) == _MOST_PAGES:
            raise PageError(f"has more than {_MOST_PAGES} pages in a row group")
        page, header_bytes = _read_page(file, place)
        pages.append(page)
        values += 0 if page.is_dictionary else page.values
        place += header_bytes + page.stored_bytes
    return pages


def _read_page(file: StoredFile, place: int) -> tuple[Page, int]:
    """Read the header at a place of the file. Returns it with its length."""
    count = _HEADER_BYTES
    while True:
        content = file.pread(count, place)
        reader = StructReader(content)
        try:
            fields = reader.fields()
            break
        except ThriftError as error:
            raise PageError(f"has a page whose header {error}") from error
        except IndexError:
            if len(content) < count or count >= _LONGEST_HEADER:
                raise PageError("has a page without a whole header") from None
            count <<= 3
    data, dictionary, data_v2 = (_fields_of(fields, kind) for kind in (_DATA, _DICTIONARY, _DATA_V2))
    kind = data or dictionary or data_v2 or {}
    encoding = _number(kind, _ENCODING_V2 if data_v2 else _ENCODING, 0)
    page = Page(
        _number(fields, _SIZE, -1), _number(fields, _STORED, -1), _number(kind, _VALUES, 0), encoding, dictionary is not None
    )
    if page.size_bytes < 0 or page.stored_bytes < 0 or page.values < 0:
        raise PageError("has a page of negative size")
    return page, reader.place


def _fields_of(fields: Fields, number: int) -> Fields | None:
    """The fields of a struct in a field; None without one."""
    content = fields[number].content if number in fields else None
    return content if isinstance(content, dict) else None


def _number(fields: Fields, number: int, default: int) -> int:
    """The integer in a field."""
    content = fields[number].content if number in fields else default
    return content if isinstance(content, int) else default


def held_bytes(pages: Sequence[Page]) -> int:
    """Memory that decoding these pages one after the other takes, once for each: the dictionary, and the largest other page."""
    dictionaries = sum(_DICTIONARY_COPIES * page.size_bytes + _ENTRY_BYTES * page.values for page in pages if page.is_dictionary)
    return dictionaries + _PAGE_COPIES * max((page.size_bytes for page in pages if not page.is_dictionary), default=0)


def spelled_out(pages: Sequence[Page]) -> list[Page]:
    """The same pages as if their values were in no dictionary: each may be as long as all of it."""
    longest = sum(page.size_bytes for page in pages if page.is_dictionary)
    return [replace(page, size_bytes=longest, encoding=DELTA_BYTE_ARRAY) if page.is_coded else page for page in pages]


def largest_batch(pages: Sequence[Page], rows: int) -> int:
    """Most bytes of the texts in `rows` rows that follow each other, by their pages, if those in a dictionary count nothing."""
    sizes = [0 if page.is_coded else page.size_bytes * _repeated(page, rows) for page in pages if not page.is_dictionary]
    counts = [page.values for page in pages if not page.is_dictionary]
    largest = window = held = first = 0
    for place, size in enumerate(sizes):
        window += size
        held += counts[place]
        # The rows may begin with the last one of the first page, and end with the first one of this page.
        while first < place and held - counts[first] - counts[place] + 2 > rows:
            window -= sizes[first]
            held -= counts[first]
            first += 1
        largest = max(largest, window)
    return largest


def _repeated(page: Page, rows: int) -> int:
    """How often a page's bytes can come in so many of its values: each may begin with all of the one before it."""
    return min(page.values, rows) if page.encoding == DELTA_BYTE_ARRAY else 1
