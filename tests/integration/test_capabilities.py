"""docs/venues.md is what the code and its samples say."""

from __future__ import annotations

from cowbook.venues import load_venue, venue_names
from support.capabilities import PAGE, look_at_samples, make_page


def test_the_table_of_venues_is_that_of_the_code() -> None:
    """If not: `make venues`."""
    assert PAGE.read_text(encoding="utf-8") == make_page()


def test_a_venue_says_that_its_connections_are_numbered() -> None:
    """Else `connection_numbers = "ignore"` would be refused where it is needed."""
    numbered = {name for name in venue_names() if load_venue(name).numbers_connection}
    assert numbered == {name for name in venue_names() if look_at_samples(name).has_sequences}
