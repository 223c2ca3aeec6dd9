"""Views and macros with which DuckDB asks an output directory: `cowbook sql`."""

from __future__ import annotations

import re
from pathlib import Path

from cowbook.plain.streams import STREAM_NAMES
from cowbook.query.parts import list_streams

_NUMBER = "DECIMAL(18, 8)"
_EMPTY = {
    "trades": "0::BIGINT AS event_index, TIMESTAMPTZ 'epoch' AS ts_event",
    "frame": f"0::BIGINT AS event_index, 'bid' AS side, 0::{_NUMBER} AS price, 0::{_NUMBER} AS size, true AS known",
}
"""Columns of streams that the macros need, where an output has none of them."""

_MACROS = """
CREATE OR REPLACE MACRO _day(the_time) AS CAST(CAST(the_time AS TIMESTAMPTZ) AT TIME ZONE 'UTC' AS DATE);

-- The last event up to a time: behind it comes the first later message of that day. Where event time has fallen by more than
-- a day, and came back to the same hour, this is the first visit; cowbook.book_at takes the last one.
CREATE OR REPLACE MACRO event_at(the_symbol, the_time) AS (
    SELECT max(event_index) FROM _messages
    WHERE symbol = the_symbol AND date <= _day(the_time) AND event_index < coalesce(
        (SELECT min(event_index) FROM _messages
         WHERE symbol = the_symbol AND date = _day(the_time) AND ts_event > CAST(the_time AS TIMESTAMPTZ)),
        9223372036854775807)
);

-- The whole book behind an event: bids best first, then asks.
CREATE OR REPLACE MACRO book_behind(the_symbol, the_event) AS TABLE
    WITH start AS (
        SELECT coalesce(max(event_index), 0) AS first FROM frame WHERE symbol = the_symbol AND event_index <= the_event + 1
    ), level AS (
        SELECT event_index - 1 AS place, side, price, size, false AS clears FROM frame
        WHERE symbol = the_symbol AND event_index = (SELECT first FROM start)
        UNION ALL
        SELECT event_index, side, price, size, kind = 'clear' FROM depth
        WHERE symbol = the_symbol AND event_index >= (SELECT first FROM start) AND event_index <= the_event
    ), cleared AS (
        SELECT side, max(place) AS place FROM level WHERE clears GROUP BY side
    )
    SELECT side, price, arg_max(size, level.place) AS size
    FROM level LEFT JOIN cleared USING (side)
    WHERE level.place > coalesce(cleared.place, -2)
    GROUP BY side, price HAVING arg_max(size, level.place) <> 0
    ORDER BY side DESC, CASE side WHEN 'bid' THEN -price ELSE price END;

-- The whole book at a time.
CREATE OR REPLACE MACRO book_at(the_symbol, the_time) AS TABLE
    SELECT * FROM book_behind(the_symbol, event_at(the_symbol, the_time));

-- Best ask minus best bid at a time.
CREATE OR REPLACE MACRO spread(the_symbol, the_time) AS (
    SELECT min(price) FILTER (side = 'ask') - max(price) FILTER (side = 'bid') FROM book_at(the_symbol, the_time)
);

-- Levels, size and turnover of each side within so many basis points of the mid at a time.
CREATE OR REPLACE MACRO depth_within(the_symbol, the_time, basis_points) AS TABLE
    WITH level AS (SELECT side, price::DOUBLE AS price, size::DOUBLE AS size FROM book_at(the_symbol, the_time)),
    middle AS (SELECT (min(price) FILTER (side = 'ask') + max(price) FILTER (side = 'bid')) / 2 AS mid FROM level)
    SELECT side, count(*) AS levels, sum(size) AS size, sum(price * size) AS turnover
    FROM level, middle WHERE abs(price - mid) <= abs(mid) * basis_points / 10000
    GROUP BY side ORDER BY side DESC;
"""


def make_sql(output_dir: Path) -> str:
    """Returns SQL for DuckDB: a view for each stream, and macros for books at instants.

    Raises QueryError if the directory holds no output.
    """
    streams = list_streams(output_dir)
    root = re.sub(r"([*?[])", r"[\1]", str(output_dir.resolve())).replace("'", "''")
    lines = [
        "-- Views and macros of cowbook for DuckDB. Times without a zone are the session's: SET TimeZone = 'UTC'.",
        "",
    ]
    for stream in STREAM_NAMES:
        if stream in streams:
            files = f"'{root}/{stream}/symbol=*/date=*/part-*.parquet'"
            options = "hive_partitioning = true, hive_types = {'symbol': VARCHAR, 'date': DATE}"
            source = f"SELECT * REPLACE (url_decode(symbol) AS symbol) FROM read_parquet({files}, {options})"  # noqa: S608 - quoted
        elif stream in _EMPTY:
            source = f"SELECT {_EMPTY[stream]}, '' AS symbol, DATE '1970-01-01' AS date WHERE false"
        else:
            continue
        lines.append(f"CREATE OR REPLACE VIEW {stream} AS {source};")
    if "depth" not in streams:
        return "\n".join([*lines, "-- Without the stream depth there are no books at instants."]) + "\n"
    if "bbo" in streams:
        lines.append(
            "CREATE OR REPLACE VIEW quotes AS SELECT *, (bid_price + ask_price)::DOUBLE / 2 AS mid, "
            "(ask_price - bid_price)::DOUBLE AS spread, "
            "(bid_price::DOUBLE * ask_size::DOUBLE + ask_price::DOUBLE * bid_size::DOUBLE) "
            "/ (bid_size::DOUBLE + ask_size::DOUBLE) AS microprice FROM bbo;"
        )
    lines.append(
        "CREATE OR REPLACE VIEW _messages AS SELECT symbol, date, event_index, ts_event::TIMESTAMPTZ AS ts_event FROM depth "
        "UNION ALL SELECT symbol, date, event_index, ts_event::TIMESTAMPTZ FROM trades;"
    )
    return "\n".join(lines) + "\n" + _MACROS
